"""The sizes of Whisper. Pure: routing knows them even where the library is not installed."""

from __future__ import annotations

SIZES = (
    "tiny",
    "tiny.en",
    "base",
    "base.en",
    "small",
    "small.en",
    "medium",
    "medium.en",
    "large-v1",
    "large-v2",
    "large-v3",
    "large-v3-turbo",
    "distil-large-v3",
)
"""The sizes a client may name, with or without `whisper-` before them."""
