"""Logs that something cannot be written: when it begins and when it is over, and not all the time.

A disk on the edge of full takes one record and refuses the next, hundreds of times a second; a log
that said so each time would fill it for good.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

QUIET_S = 60.0
"""The least time between two lines that say it began."""


class Trouble:
    """One kind of trouble; `warn` is a logger's method for warnings."""

    def __init__(
        self,
        warn: Callable[..., Any],
        quiet_s: float = QUIET_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._warn = warn
        self._quiet_s = quiet_s
        self._clock = clock
        self._reported = False
        self._next = -quiet_s

    def met(self, message: str, **fields: object) -> None:
        """It is there; logged once until it is over."""
        now = self._clock()
        if self._reported or now < self._next:
            return
        self._reported = True
        self._next = now + self._quiet_s
        self._warn(message, **fields)

    def over(self, message: str, **fields: object) -> None:
        """It is not there; logged if its beginning was."""
        if self._reported:
            self._reported = False
            self._warn(message, **fields)
