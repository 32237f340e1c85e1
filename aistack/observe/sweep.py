"""Which captures there are in a folder, and which have to go: too old first, then the oldest ones
until the rest keeps to the cap.

Only what looks like a capture is ever touched: `<root>/YYYY-MM-DD/<capture>/` with plain files in it. A
root that someone pointed at a folder of other things loses none of them.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
FILES = frozenset({"meta.json", "req.bin", "req.type", "resp.bin"})
"""What a capture is made of."""
DAY_S = 24 * 3600.0


@frozen
class CaptureFolder:
    """One capture on the disk; `at` is Unix seconds of its last change."""

    path: Path
    bytes: int
    at: float


def captures(root: Path) -> list[CaptureFolder]:
    """All of them, oldest first. What cannot be read is not there."""
    found = [capture for day in _days(root) for capture in _of(day)]
    return sorted(found, key=lambda capture: (capture.at, capture.path))


def _days(root: Path) -> list[Path]:
    return [path for path in _folders(root) if _DAY.fullmatch(path.name)]


def _of(day: Path) -> list[CaptureFolder]:
    return [known for path in _folders(day) if (known := _measured(path)) is not None]


def _folders(within: Path) -> list[Path]:
    try:
        with os.scandir(within) as entries:
            return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _measured(path: Path) -> CaptureFolder | None:
    """The capture in a folder; None if anything else is in there."""
    try:
        with os.scandir(path) as entries:
            known = {entry.name: entry.stat(follow_symlinks=False) for entry in entries}
        last = max((file.st_mtime for file in known.values()), default=path.stat().st_mtime)
    except OSError:
        return None
    if not known.keys() <= FILES:
        return None
    return CaptureFolder(path, sum(file.st_size for file in known.values()), last)


def surplus(
    kept: Sequence[CaptureFolder], now: float, max_days: int, max_bytes: int
) -> list[CaptureFolder]:
    """Those of `kept` (oldest first) that have to go. `max_days` of 0 sets no limit of age."""
    oldest = now - max_days * DAY_S if max_days else 0.0
    going = [capture for capture in kept if capture.at < oldest]
    young = kept[len(going) :]
    total = sum(capture.bytes for capture in young)
    for capture in young:
        if total <= max_bytes:
            break
        going.append(capture)
        total -= capture.bytes
    return going


def remove(going: Sequence[CaptureFolder]) -> int:
    """Remove captures, and days that became empty; how many are gone. Never raises OSError."""
    gone = 0
    for capture in going:
        with contextlib.suppress(OSError):
            for name in os.listdir(capture.path):
                if name in FILES:
                    (capture.path / name).unlink(missing_ok=True)
            capture.path.rmdir()
            gone += 1
    for day in {capture.path.parent for capture in going}:
        with contextlib.suppress(OSError):
            day.rmdir()
    return gone
