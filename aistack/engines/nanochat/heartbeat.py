"""Signs of life from a library call that gives none: reading large weights takes minutes.

What is reported is memory taken and pages read by this process, and only when they have grown: a
load that hangs must look like one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from aistack.chunks import Progress, Report

LOOK_S = 1.0


def taken() -> tuple[float, float]:
    """Highest resident size in bytes, and page faults that needed the disk; zeros where unknown."""
    try:
        import resource
    except ImportError:  # not on Windows
        return 0.0, 0.0
    import sys

    usage = resource.getrusage(resource.RUSAGE_SELF)
    unit = 1 if sys.platform == "darwin" else 1024
    return float(usage.ru_maxrss * unit), float(usage.ru_majflt + usage.ru_inblock)


@contextmanager
def reported(report: Report, total: float | None) -> Iterator[None]:
    """While the block runs, report its growth in bytes of `total` about once a second."""
    begin = taken()[0]
    done = threading.Event()

    def watch() -> None:
        seen = taken()
        while not done.wait(LOOK_S):
            now = taken()
            if now != seen:
                seen = now
                grown = now[0] - begin
                report(Progress(min(grown, total) if total else grown, total, "bytes"))

    thread = threading.Thread(target=watch, name="growth", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
