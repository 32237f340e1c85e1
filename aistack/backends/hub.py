"""Finding a model's files in the Hugging Face or ModelScope cache, and fetching them with progress.

The look at the disk needs no library, because routing and the model list ask it in the gateway's own
process. Layouts: `models--Owner--name/snapshots/<revision>/` (Hugging Face, documented) and
`models/owner/name/` below ModelScope's cache with its older variants.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from aistack.backends.base import Report
from aistack.backends.weights import cache_dir
from aistack.chunks import Progress

POLL_S = 1.0
"""Seconds between two looks at how much has arrived."""

T = TypeVar("T")


def _complete(directory: Path, needed: Iterable[str]) -> bool:
    return all((directory / name).is_file() for name in needed)


def in_huggingface(repo_id: str, needed: Iterable[str], environ: Mapping[str, str]) -> Path | None:
    """The directory of a copy that has all `needed` files, the revision of `main` first."""
    repository = cache_dir(environ) / f"models--{repo_id.replace('/', '--')}"
    try:
        main = (repository / "refs" / "main").read_text(encoding="utf-8").strip()
    except OSError:
        main = ""
    try:
        found = sorted((repository / "snapshots").iterdir(), key=lambda path: path.name != main)
    except OSError:
        return None
    return next((path for path in found if _complete(path, needed)), None)


def in_modelscope(repo_id: str, needed: Iterable[str], environ: Mapping[str, str]) -> Path | None:
    """The same in ModelScope's cache, whose layout has changed over the years."""
    owner, _, name = repo_id.partition("/")
    return next(
        (
            base / owner / variant
            for base in _modelscope_roots(environ)
            for variant in (name.replace(".", "___"), name)
            if _complete(base / owner / variant, needed)
        ),
        None,
    )


def _modelscope_roots(environ: Mapping[str, str]) -> Iterator[Path]:
    home = Path(environ.get("HOME") or "~").expanduser()
    base = Path(environ.get("MODELSCOPE_CACHE") or home / ".cache" / "modelscope").expanduser()
    yield from (base / "models", base / "hub" / "models", base / "hub", base)


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
    with ThreadPoolExecutor(1, "fetch") as pool:
        future = pool.submit(download)
        while not wait((future,), timeout=POLL_S).done:
            size = arrived()
            if size > seen:
                seen = size
                whole = total()
                known = whole if whole is not None and whole >= size > 0 else None
                report(Progress(float(size), known, "bytes"))
        return future.result()


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


def from_huggingface(repo_id: str, patterns: list[str], report: Report) -> Path:
    """Download the files that match, and return their directory. Raises what the hub's library does."""
    import fnmatch

    from huggingface_hub import HfApi, snapshot_download

    totals: list[float] = []

    def download() -> str:
        files = HfApi().model_info(repo_id, files_metadata=True).siblings or []
        wanted = [
            file.size or 0
            for file in files
            if any(fnmatch.fnmatch(file.rfilename, pattern) for pattern in patterns)
        ]
        totals.append(float(sum(wanted)))
        return str(snapshot_download(repo_id, allow_patterns=patterns))

    repository = cache_dir(os.environ) / f"models--{repo_id.replace('/', '--')}"
    return Path(
        fetched(
            download,
            lambda: size_of(repository / "blobs"),
            lambda: totals[0] if totals else None,
            report,
        )
    )


def from_modelscope(repo_id: str, report: Report) -> Path:
    """Download a whole repository from ModelScope. Raises what its library raises."""
    from modelscope import snapshot_download

    root = next(_modelscope_roots(os.environ)).parent
    before = size_of(root)

    def download() -> Any:
        return snapshot_download(repo_id)

    return Path(fetched(download, lambda: max(size_of(root) - before, 0), lambda: None, report))
