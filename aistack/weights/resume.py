"""Downloads from the Hugging Face Hub that go on where they stopped.

The hub's library resumes within one call at best: it deletes what it had when it gives up, or is
killed. So large files (those kept as Git LFS objects) are fetched here, into a partial file beside
the library's blobs, and moved to the blob's own name once their checksum is right; the library then
finds them there, and fetches the small files itself. Only public names of the library are used: its
session, so that offline mode, proxies and tokens hold, its lock, and its documented cache layout.
"""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import os
import re
import shutil
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import frozen

TRIES = 5
"""Attempts in a row that may bring nothing; one that brings anything begins the count anew."""

PAUSE_S = 1.0
"""Before the second such attempt; doubled for each further one."""

PARTIAL = ".aistack.incomplete"
"""How the name of a partial file ends; it begins with its checksum."""

BLOCK = 1024 * 1024

RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may be gone in a moment."""

_CONTENT_RANGE = re.compile(r"bytes (\d+)-")


class BrokenOff(OSError):
    """The connection broke off more than once; what has arrived is kept for the next attempt."""


class Damaged(OSError):
    """All bytes arrived and are not what the hub says they should be; they were thrown away."""


class _Unfinished(Exception):
    """The body ended early, or the hub would not go on from here."""


@frozen
class Remote:
    """A file of a repository at one commit. `blob` names it in the cache: the sha256 of a large one."""

    repo_id: str
    revision: str
    name: str
    size: int
    blob: str
    large: bool


def matching_files(repo_id: str, patterns: Sequence[str]) -> list[Remote]:
    """The files that match. Raises what the hub's library raises."""
    from huggingface_hub import HfApi

    info = HfApi().model_info(repo_id, files_metadata=True)
    return [
        Remote(
            repo_id,
            str(info.sha),
            file.rfilename,
            file.size or 0,
            file.lfs.sha256 if file.lfs else file.blob_id or "",
            file.lfs is not None,
        )
        for file in info.siblings or []
        if any(fnmatch.fnmatch(file.rfilename, pattern) for pattern in patterns)
    ]


def partial_of(file: Remote, repository: Path) -> Path:
    """Where a large file grows."""
    return repository / "blobs" / f"{file.blob}{PARTIAL}"


def arrived(file: Remote, repository: Path) -> int:
    """Bytes of a file that are in the cache."""
    for path in (repository / "blobs" / file.blob, partial_of(file, repository)):
        with suppress(OSError):
            return min(path.stat().st_size, file.size)
    return 0


def room_for(files: Iterable[Remote], repository: Path) -> None:
    """Raise OSError (ENOSPC) if what is lacking cannot fit on the disk: better before than after."""
    lacking = sum(file.size - arrived(file, repository) for file in files)
    folder = next(path for path in (repository, *repository.parents) if path.exists())
    if lacking > shutil.disk_usage(folder).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fetch(file: Remote, repository: Path) -> None:
    """Bring a large file into the cache, going on with what is there of it.

    Waits while another process fetches the same file. Raises BrokenOff, Damaged, OSError, or what the
    hub's library raises.
    """
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    blob, partial = repository / "blobs" / file.blob, partial_of(file, repository)
    lock = repository.parent / ".locks" / repository.name / f"{file.blob}.lock"
    for folder in (blob.parent, lock.parent):
        folder.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):
        if blob.exists():
            return
        _grown(file, partial)
        if _sha256(partial) != file.blob:
            partial.unlink()
            raise Damaged("the checksum is wrong")
        partial.replace(blob)


def tidy(repository: Path) -> None:
    """Drop what is left of downloads of older revisions, after one that was completed."""
    for path in (repository / "blobs").glob(f"*{PARTIAL}"):
        path.unlink(missing_ok=True)


def _grown(file: Remote, partial: Path) -> None:
    """Attempts until the partial file has its length."""
    failed, began = 0, _length(partial, file.size)
    while (size := _length(partial, file.size)) < file.size:
        cause: Exception | None = None
        try:
            _attempt(file, partial, size)
        except Exception as exc:
            if not _passing(exc):
                raise
            cause = exc
        now = _length(partial, file.size)
        failed = 0 if now > size else failed + 1
        if failed >= TRIES:
            if cause is None or isinstance(cause, _Unfinished) or (now > began and not _status(cause)):
                raise BrokenOff("the connection to the hub broke off") from cause
            raise cause
        if failed:
            threading.Event().wait(PAUSE_S * 2 ** (failed - 1))


def _length(partial: Path, size: int) -> int:
    """Bytes of the partial file; one that is too long is not the beginning of this file."""
    try:
        length = partial.stat().st_size
    except FileNotFoundError:
        return 0
    if length > size:
        partial.unlink()
        return 0
    return length


def _attempt(file: Remote, partial: Path, start: int) -> None:
    """One request for what is lacking, written as it comes."""
    from huggingface_hub import constants, get_session, hf_hub_url
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        build_hf_headers,
        hf_raise_for_status,
    )

    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    url = hf_hub_url(file.repo_id, file.name, revision=file.revision)
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with (
        get_session().stream(
            "GET", url, headers=headers, timeout=timeout, follow_redirects=True
        ) as answer,
        partial.open("ab") as out,
    ):
        hf_raise_for_status(answer)
        if start and not _goes_on(answer, start):
            out.truncate(0)
        for block in answer.iter_bytes():
            out.write(block)


def _goes_on(answer: Any, start: int) -> bool:
    """Whether the answer begins where we asked; one with the whole file instead is not an error."""
    if answer.status_code != 206:
        return False
    began = _CONTENT_RANGE.match(answer.headers.get("Content-Range", ""))
    if began is None or int(began[1]) != start:
        raise _Unfinished("another range than was asked for")
    return True


def _passing(exc: BaseException) -> bool:
    """Whether another attempt may go better. The library's classes are recognised by name: which of its
    two HTTP libraries raises them depends on its version."""
    names = {kind.__name__ for kind in type(exc).__mro__}
    return isinstance(exc, _Unfinished) or "TransportError" in names or _status(exc) in RETRIED


def _status(exc: BaseException) -> int:
    """The status of an answer that is an error; 0 where there was no answer."""
    return int(getattr(getattr(exc, "response", None), "status_code", 0) or 0)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
