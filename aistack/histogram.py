"""A histogram as Prometheus understands one: counts up to growing bounds, a sum, a count. Pure."""

from __future__ import annotations

from bisect import bisect_left

from attrs import define, field, frozen

SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)
"""Bounds for how long a model works on one request, seconds."""


@frozen
class Buckets:
    """What is rendered. `upto`: pairs of an upper bound and how many values were at most that
    (cumulative); the bucket `+Inf` is `count`."""

    upto: tuple[tuple[float, int], ...]
    sum: float
    count: int


@define
class Histogram:
    """Collects values; `bounds` grow."""

    bounds: tuple[float, ...] = SECONDS
    sum: float = 0.0
    count: int = 0
    _within: list[int] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._within = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """Count one value; one that equals a bound belongs below it."""
        self._within[bisect_left(self.bounds, value)] += 1
        self.sum += value
        self.count += 1

    def told(self) -> Buckets:
        """The state now."""
        upto, so_far = [], 0
        for bound, within in zip(self.bounds, self._within, strict=False):
            so_far += within
            upto.append((bound, so_far))
        return Buckets(tuple(upto), self.sum, self.count)
