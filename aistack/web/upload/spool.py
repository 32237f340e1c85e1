"""An upload on its way to disk: written in threads, removed exactly once, whatever happens.

The bytes go to a temporary file because engines are other processes and read by path. Large files
are removed in a thread too: freeing a gigabyte takes long enough to be felt on the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import tempfile
from pathlib import Path
from typing import IO

import structlog

from aistack.config.units import MiB
from aistack.errors import BackendFault
from aistack.web.faults import too_large

log = structlog.get_logger("aistack.web")

PREFIX = "aistack_asr_"
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FELT = 64 * MiB


class Spool:
    """One temporary file, mode 0600. Written by one task; `bytes` counts what is in it."""

    def __init__(self, folder: str) -> None:
        """Raises OSError if `folder` (empty: the system's) cannot be written to."""
        descriptor, self.path = tempfile.mkstemp(prefix=f"{PREFIX}{os.getpid()}_", dir=folder or None)
        self._file: IO[bytes] = os.fdopen(descriptor, "wb", buffering=0)
        self._writing: asyncio.Future[int] | None = None
        self._discarded = False
        self.bytes = 0

    async def write(self, block: bytes) -> None:
        """Append. A full disk is 413: for the caller it is what an audio too large for the memory
        is (a smaller one may fit, the same one again will not), and 413 keeps client libraries from
        sending the gigabyte twice more, as they do after 500 and 503."""
        loop = asyncio.get_running_loop()
        self._writing = loop.run_in_executor(None, self._append, block)
        try:
            # Shielded, because a thread cannot be cancelled: `discard` must know that it still writes.
            await asyncio.shield(self._writing)
        except OSError as exc:
            if exc.errno in _NO_ROOM:
                log.warning(
                    "an upload could not be stored",
                    folder=os.path.dirname(self.path),
                    reason=exc.strerror,
                    stored=self.bytes,
                )
                fault = too_large("The server has no disk space for an upload of this size.", "file")
                raise BackendFault(fault) from exc
            raise
        self.bytes += len(block)

    def _append(self, block: bytes) -> int:
        view = memoryview(block)
        while view:
            view = view[self._file.write(view) :]
        return len(block)

    def close(self) -> None:
        """All is written."""
        self._file.close()

    def discard(self) -> None:
        """Remove the file; at most once, never raises, does not wait."""
        if self._discarded:
            return
        self._discarded = True
        if self._writing is not None and not self._writing.done():
            # Closing the descriptor under the writing thread could hand its number to someone else.
            self._writing.add_done_callback(self._written)
        elif self.bytes >= _FELT:
            try:
                asyncio.get_running_loop().run_in_executor(None, self._remove)
            except RuntimeError:  # no loop any more, or its threads are gone: the process is ending
                self._remove()
        else:
            self._remove()

    def _written(self, writing: asyncio.Future[int]) -> None:
        """The last write of a discarded upload is over; how it ended no longer matters."""
        if not writing.cancelled():
            writing.exception()
        self._remove()

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            os.unlink(self.path)


def sweep(folder: str) -> int:
    """Remove what processes that are gone left behind (a kill leaves no time to clean up); how many.

    The name says whose a file is. One with our own number is an orphan too: we have just started.
    """
    removed = 0
    for path in Path(folder or tempfile.gettempdir()).glob(f"{PREFIX}*_*"):
        owner = path.name.removeprefix(PREFIX).partition("_")[0]
        if owner.isdigit() and (int(owner) == os.getpid() or not _alive(int(owner))):
            with contextlib.suppress(OSError):
                path.unlink()
                removed += 1
    return removed


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
