"""Where Whisper's weights are: which sizes there are, and what is on disk.

The look at the disk is pure and needs none of the heavy libraries, because routing and the model
list ask it in the gateway's own process. It reads the layout of the Hugging Face cache
(`models--Owner--name/snapshots/<revision>/...`), which is documented and shared between programs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from aistack.weights.whisper_sizes import SIZES

_HUB_IDS = {
    "large-v3-turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    "distil-large-v3": "Systran/faster-distil-whisper-large-v3",
}

NEEDED = ("model.bin", "config.json", "tokenizer.json")
"""Files without which a model directory is of no use (besides one `vocabulary.*`)."""

PATTERNS = (*NEEDED, "preprocessor_config.json", "vocabulary.*")
"""What is fetched; the same files that faster-whisper itself would fetch."""


def hub_id(size: str) -> str:
    """The Hugging Face id behind a size; ValueError if there is no such size.

    The table is faster-whisper's own (a test compares them), kept here because importing that
    library costs seconds.
    """
    if size not in SIZES:
        raise ValueError(f"no such size: {size}")
    return _HUB_IDS.get(size, f"Systran/faster-whisper-{size}")


def cache_dir(environ: Mapping[str, str]) -> Path:
    """The Hugging Face cache, by the same variables and in the same order as its own library."""
    home = environ.get("XDG_CACHE_HOME", os.path.join("~", ".cache"))
    hub = environ.get("HF_HOME", os.path.join(home, "huggingface"))
    legacy = environ.get("HUGGINGFACE_HUB_CACHE", os.path.join(hub, "hub"))
    found = os.path.expandvars(environ.get("HF_HUB_CACHE", legacy))
    own_home = environ.get("HOME", "")
    if own_home and found.startswith("~" + os.sep):
        return Path(own_home + found[1:])
    return Path(os.path.expanduser(found))  # for a user without a home it stays as it is, as there


def lacking(directory: Path) -> str | None:
    """The first file that a model directory lacks; none if it is complete."""
    for name in NEEDED:
        if not (directory / name).is_file():
            return name
    return None if any(path.is_file() for path in directory.glob("vocabulary.*")) else "vocabulary.json"


def _snapshots(repository: Path) -> Iterator[Path]:
    """The revisions that are on disk, the one `main` stands for first."""
    try:
        main = (repository / "refs" / "main").read_text(encoding="utf-8").strip()
    except OSError:
        main = ""
    if main:
        yield repository / "snapshots" / main
    try:
        others = sorted((repository / "snapshots").iterdir())
    except OSError:
        return
    yield from (path for path in others if path.name != main)


def snapshot(repo_id: str, environ: Mapping[str, str]) -> Path | None:
    """The directory of a complete copy in the cache; none if there is none.

    A download that was interrupted leaves a directory in which files are missing, or links that
    point nowhere: that is not a copy.
    """
    repository = cache_dir(environ) / f"models--{repo_id.replace('/', '--')}"
    return next((path for path in _snapshots(repository) if lacking(path) is None), None)


def weights_on_disk(size: str, environ: Mapping[str, str]) -> bool:
    """Whether a size could be loaded without any network. Milliseconds; imports nothing."""
    return snapshot(hub_id(size), environ) is not None
