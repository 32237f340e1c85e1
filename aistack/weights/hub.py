"""Fetching a model's files from the Hugging Face Hub or ModelScope, with progress.

The hubs' libraries are imported only where something is fetched: in an engine's own process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from aistack.chunks import DOWNLOAD, Progress, Report
from aistack.weights.cache import modelscope_cache, repository_folder

POLL_S = 1.0
"""Seconds between two looks at how much has arrived."""

T = TypeVar("T")


def offline(environ: Mapping[str, str]) -> bool:
    """Whether the environment forbids downloads, in the words of the Hugging Face library."""
    value = environ.get("HF_HUB_OFFLINE") or environ.get("TRANSFORMERS_OFFLINE") or ""
    return value.upper() in {"1", "ON", "YES", "TRUE"}


def with_progress(
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

    repository = repository_folder(repo_id, os.environ)
    files: list[resume.Remote] = []

    def download() -> str:
        files.extend(resume.matching_files(repo_id, patterns))
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
        with_progress(
            download, lambda: sum(resume.arrived(file, repository) for file in files), total, report
        )
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
        with_progress(
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
