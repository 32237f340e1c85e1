"""Finding a model's files in the Hugging Face or ModelScope cache, and fetching them with progress.

The look at the disk needs no library, because routing and the model list ask it in the gateway's own
process. Layouts: `models--Owner--name/snapshots/<revision>/` (Hugging Face, documented) and
`models/owner--name/snapshots/<revision>/` below ModelScope's cache, with its older variants.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from aistack.chunks import DOWNLOAD, Progress, Report
from aistack.weights.whisper import cache_dir

POLL_S = 1.0
"""Seconds between two looks at how much has arrived."""

T = TypeVar("T")


def _complete(directory: Path, needed: Iterable[str]) -> bool:
    return all((directory / name).is_file() for name in needed)


def folder_of(repo_id: str) -> str:
    """The folder of a repository in the Hugging Face cache."""
    return f"models--{repo_id.replace('/', '--')}"


def in_huggingface(repo_id: str, needed: Iterable[str], environ: Mapping[str, str]) -> Path | None:
    """The directory of a copy that has all `needed` files, the revision of `main` first."""
    repository = cache_dir(environ) / folder_of(repo_id)
    try:
        main = (repository / "refs" / "main").read_text(encoding="utf-8").strip()
    except OSError:
        main = ""
    return _snapshot(repository, tuple(needed), main)


def _snapshot(repository: Path, needed: Sequence[str], first: str) -> Path | None:
    """A complete directory below `snapshots`, the revision `first` before all others."""
    try:
        found = sorted((repository / "snapshots").iterdir(), key=lambda path: (path.name != first, path))
    except OSError:
        return None
    return next((path for path in found if _complete(path, needed)), None)


def in_modelscope(repo_id: str, needed: Iterable[str], environ: Mapping[str, str]) -> Path | None:
    """The same in ModelScope's cache, whose layout has changed over the years."""
    owner, _, name = repo_id.partition("/")
    needed = tuple(needed)
    root = modelscope_cache(environ)
    newest = _snapshot(root / "models" / f"{owner}--{name}", needed, "master")
    return newest or next(
        (
            base / owner / variant
            for base in (root / "models", root / "hub" / "models", root / "hub", root)
            for variant in (name.replace(".", "___"), name)
            if _complete(base / owner / variant, needed)
        ),
        None,
    )


def modelscope_cache(environ: Mapping[str, str]) -> Path:
    """ModelScope's cache, by the same variable as its own library."""
    home = os.path.expanduser(environ.get("HOME") or "~")  # stays "~" for a user without a home
    return Path(os.path.expanduser(environ.get("MODELSCOPE_CACHE") or f"{home}/.cache/modelscope"))


# --- fetching ----------------------------------------------------------------------------------------


def fetched(
    download: Callable[[], T],
    arrived: Callable[[], int],
    total: Callable[[], float | None],
    report: Report,
) -> T:
    """What `download` returns or raises; meanwhile the bytes that have arrived are reported.

    Reported only when they have grown, since a download that hangs must look like one, and always in
    the calling thread.
    """
    from concurrent.futures import ThreadPoolExecutor, wait

    seen = -1

    def look() -> None:
        nonlocal seen
        size = arrived()
        if size > seen:
            seen = size
            whole = total()
            known = whole if whole is not None and whole >= size > 0 else None
            report(Progress(float(size), known, DOWNLOAD))

    with ThreadPoolExecutor(1, "fetch") as pool:
        future = pool.submit(download)
        while not wait((future,), timeout=POLL_S).done:
            look()
        result = future.result()
    look()
    return result


def size_of(directory: Path) -> int:
    """Bytes of all files below a directory, complete or not; links are not followed."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:  # a part that was just renamed
                continue
    return total


def from_huggingface(repo_id: str, patterns: Sequence[str], report: Report) -> Path:
    """Download the files that match, and return their directory. Raises what the hub's library does,
    BrokenOff, Damaged, and OSError (also when there is too little space, before anything is fetched).

    Large files go on where an earlier download stopped, which the library itself cannot do.
    """
    from huggingface_hub import snapshot_download

    from aistack.weights import resume

    repository = cache_dir(os.environ) / folder_of(repo_id)
    files: list[resume.Remote] = []

    def download() -> str:
        files.extend(resume.listed(repo_id, patterns))
        resume.room_for(files, repository)
        for file in files:
            if file.large:
                resume.fetch(file, repository)
        found = snapshot_download(repo_id, allow_patterns=list(patterns))
        resume.tidy(repository)
        return str(found)

    def total() -> float | None:
        return float(sum(file.size for file in files)) or None

    return Path(
        fetched(download, lambda: sum(resume.arrived(file, repository) for file in files), total, report)
    )


def from_modelscope(repo_id: str, report: Report) -> Path:
    """Download a whole repository from ModelScope. Raises what its library raises.

    The library goes on where an earlier download stopped by itself.
    """
    from modelscope import snapshot_download

    root = modelscope_cache(os.environ)
    before = size_of(root)
    sizes: dict[str, float] = {}

    def download() -> Any:
        return snapshot_download(repo_id, progress_callbacks=[_noting(sizes)])

    return Path(
        fetched(
            download,
            lambda: max(size_of(root) - before, 0),
            lambda: sum(sizes.values()) or None,
            report,
        )
    )


def _noting(sizes: dict[str, float]) -> type[Any]:
    """A progress callback that only notes how large each file is; made by the library, one a file."""
    from modelscope.hub.callback import ProgressCallback

    class Noting(ProgressCallback):  # type: ignore[misc]
        def __init__(self, filename: str, file_size: int) -> None:
            super().__init__(filename, file_size)
            sizes[filename] = float(file_size)

    return Noting
