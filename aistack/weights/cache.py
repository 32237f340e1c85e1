"""What the caches of the Hugging Face and ModelScope libraries hold, read from their layouts alone.

The look needs no library and takes milliseconds, because the gateway's own process asks it. Layouts:
`models--Owner--name/snapshots/<revision>/` (Hugging Face, documented and shared between programs) and
`models/owner--name/snapshots/<revision>/` below ModelScope's cache, with its older variants.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path


def huggingface_cache(environ: Mapping[str, str]) -> Path:
    """The Hugging Face cache, by the same variables and in the same order as its own library."""
    home = environ.get("XDG_CACHE_HOME", os.path.join("~", ".cache"))
    hub = environ.get("HF_HOME", os.path.join(home, "huggingface"))
    legacy = environ.get("HUGGINGFACE_HUB_CACHE", os.path.join(hub, "hub"))
    found = os.path.expandvars(environ.get("HF_HUB_CACHE", legacy))
    own_home = environ.get("HOME", "")
    if own_home and found.startswith("~" + os.sep):
        return Path(own_home + found[1:])
    return Path(os.path.expanduser(found))  # for a user without a home it stays as it is, as there


def modelscope_cache(environ: Mapping[str, str]) -> Path:
    """ModelScope's cache, by the same variable as its own library."""
    home = os.path.expanduser(environ.get("HOME") or "~")  # stays "~" for a user without a home
    return Path(os.path.expanduser(environ.get("MODELSCOPE_CACHE") or f"{home}/.cache/modelscope"))


def repository_folder(repo_id: str, environ: Mapping[str, str]) -> Path:
    """Where the Hugging Face cache keeps a repository, whether it is there or not."""
    return huggingface_cache(environ) / f"models--{repo_id.replace('/', '--')}"


def first_lacking(directory: Path, needed: Iterable[str]) -> str | None:
    """The first of `needed` that a directory lacks; None if it is complete. `*` stands for anything.

    A download that was interrupted leaves a directory in which files are missing, or links that point
    nowhere: that is not a copy.
    """
    for name in needed:
        if not any(path.is_file() for path in directory.glob(name)):
            return name
    return None


def in_huggingface(repo_id: str, needed: Iterable[str], environ: Mapping[str, str]) -> Path | None:
    """The directory of a copy that has all `needed` files, the revision of `main` first."""
    repository = repository_folder(repo_id, environ)
    try:
        main = (repository / "refs" / "main").read_text(encoding="utf-8").strip()
    except OSError:
        main = ""
    return _complete_snapshot(repository, tuple(needed), main)


def in_modelscope(repo_id: str, needed: Iterable[str], environ: Mapping[str, str]) -> Path | None:
    """The same in ModelScope's cache, whose layout has changed over the years."""
    owner, _, name = repo_id.partition("/")
    needed = tuple(needed)
    root = modelscope_cache(environ)
    newest = _complete_snapshot(root / "models" / f"{owner}--{name}", needed, "master")
    return newest or next(
        (
            base / owner / variant
            for base in (root / "models", root / "hub" / "models", root / "hub", root)
            for variant in (name.replace(".", "___"), name)
            if first_lacking(base / owner / variant, needed) is None
        ),
        None,
    )


def _complete_snapshot(repository: Path, needed: Sequence[str], first: str) -> Path | None:
    """A complete directory below `snapshots`, the revision `first` before all others."""
    try:
        found = sorted((repository / "snapshots").iterdir(), key=lambda path: (path.name != first, path))
    except OSError:
        return None
    return next((path for path in found if first_lacking(path, needed) is None), None)
