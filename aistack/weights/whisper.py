"""Whisper's sizes: which there are, where a hub keeps them, and which files a model consists of.

None of the heavy libraries is needed: the gateway's own process asks what lies on the disk.
"""

from __future__ import annotations

from pathlib import Path

from aistack.weights.cache import first_lacking

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

_HUB_IDS = {
    "large-v3-turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    "distil-large-v3": "Systran/faster-distil-whisper-large-v3",
}

NEEDED = ("model.bin", "config.json", "tokenizer.json", "vocabulary.*")
"""Files without which a model directory is of no use."""

PATTERNS = (*NEEDED, "preprocessor_config.json")
"""What is fetched; the same files that faster-whisper itself would fetch."""


def hub_id(size: str) -> str:
    """The Hugging Face id behind a size; ValueError if there is no such size.

    The table is faster-whisper's own (a test compares them), kept here because importing that
    library costs seconds.
    """
    if size not in SIZES:
        raise ValueError(f"no such size: {size}")
    return _HUB_IDS.get(size, f"Systran/faster-whisper-{size}")


def lacking(directory: Path) -> str | None:
    """The first file that a model directory lacks; None if it is complete."""
    name = first_lacking(directory, NEEDED)
    return "vocabulary.json" if name == "vocabulary.*" else name
