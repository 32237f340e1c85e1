"""Whether a program finds SIGINT ignored when it starts.

Programs inherit this. A shell starts the background jobs of a script with SIGINT ignored, and some CI
runners start all jobs like that; Python then never raises KeyboardInterrupt, in a test run or in the
programs that its tests start.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType

Disposition = signal.Handlers | Callable[[int, FrameType | None], object]


@contextmanager
def inherited(disposition: Disposition, number: signal.Signals = signal.SIGINT) -> Iterator[None]:
    """Programs started meanwhile find `number` ignored; or at its default, if a function is given."""
    before = signal.signal(number, disposition)
    try:
        yield
    finally:
        signal.signal(number, before)


def as_at_a_terminal() -> AbstractContextManager[None]:
    """Programs started meanwhile end with Ctrl-C."""
    return inherited(signal.default_int_handler)


def as_in_the_background() -> AbstractContextManager[None]:
    """Programs started meanwhile ignore Ctrl-C, as a script's background jobs do."""
    return inherited(signal.SIG_IGN)
