"""Telling that something cannot be written: when it begins and when it is over, and not all the time.

A disk on the edge of full takes one record and refuses the next, hundreds of times a second; a log
that said so each time would fill it for good.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

QUIET_S = 60.0
"""The least time between two tellings that it began."""


class Trouble:
    """One kind of trouble; `say` is a logger's method for warnings."""

    def __init__(
        self,
        say: Callable[..., Any],
        quiet_s: float = QUIET_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say = say
        self._quiet_s = quiet_s
        self._clock = clock
        self._told = False
        self._next = -quiet_s

    def met(self, message: str, **fields: object) -> None:
        """It is there; told once until it is over."""
        now = self._clock()
        if self._told or now < self._next:
            return
        self._told = True
        self._next = now + self._quiet_s
        self._say(message, **fields)

    def over(self, message: str, **fields: object) -> None:
        """It is not there; told if its beginning was."""
        if self._told:
            self._told = False
            self._say(message, **fields)
