"""The pages of docs/ that a program writes, so that they cannot differ from the code.

`python -m contrib.dev.pages` writes them; a test compares what is committed with what would be written.
"""
