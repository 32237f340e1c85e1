"""How work grows with its input, by the time of this process, in which others have no part."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
TIMES = 8
LINEAR = 28.0
"""Eight times the input: 8 is linear, 64 is quadratic, and what lies between is the machine's caches."""
ROUNDS = 5


def growth(make: Callable[[int], T], work: Callable[[T], object], size: int) -> float:
    """By how much the cost of `work` grows from an input of `size` to one TIMES as large."""
    return _cost(work, make(size * TIMES)) / _cost(work, make(size))


def _cost(work: Callable[[T], object], given: T) -> float:
    """The least of some rounds."""
    spent: list[float] = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work(given)
        spent.append(time.process_time() - began)
    return max(min(spent), 1e-6)
