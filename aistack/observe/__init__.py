"""What is watched and written down about requests: figures, the access log, captures, traces.

Nothing here may fail a request, hold one up, or change an answer: hooks are O(1) and guarded, files
are written by threads of their own, and what cannot be written is dropped, counted and logged once.
"""
