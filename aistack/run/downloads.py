"""The log of a first download: a line at its start, every 10% or 5 seconds, and at its end."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from aistack.chunks import DOWNLOAD, Progress

log = structlog.get_logger("aistack.engine")

EVERY_S = 5.0
EVERY_SHARE = 0.1


class DownloadLog:
    """Fed with all progress of one load; logs those that belong to a download."""

    def __init__(
        self, model: str, engine: str, job_id: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._known = {"model": model, "engine": engine, "job_id": job_id}
        self._clock = clock
        self._began: float | None = None
        self._at = 0.0
        self._share = 0.0
        self._last = Progress(0.0, None, DOWNLOAD)

    def note(self, progress: Progress) -> None:
        """One report of the load's progress. The first in another unit ends the download."""
        if progress.unit != DOWNLOAD:
            self._over()
            return
        now = self._clock()
        share = progress.share or 0.0
        self._last = progress
        if self._began is None:
            self._began = now
        elif now - self._at < EVERY_S and share < self._share + EVERY_SHARE:
            return
        self._at, self._share = now, share
        figures = {"bytes": int(progress.done), "total": _whole(progress.total)}
        if progress.total:
            figures["percent"] = int(100 * share)
        log.info("model.download", **self._known, **figures)

    def _over(self) -> None:
        if self._began is None:
            return
        took = round(self._clock() - self._began, 1)
        total = _whole(self._last.total) or int(self._last.done)
        log.info("model.downloaded", **self._known, bytes=total, seconds=took)
        self._began = None


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
