"""Counters and histograms as plain numbers, kept by one thread (the loop's). Pure.

prometheus_client is used to write the exposition only. Its own metric objects lock and look labels
up at every observation, 2 to 5 µs each; a dict and a bisect cost a tenth of that, and a scrape, which
comes every fifteen seconds, pays for the translation instead of the requests.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

Labels = tuple[str, ...]

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
"""Bounds for times: from a refusal to the transcription of hours."""
RATIOS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
"""Bounds for the real-time factor."""
OTHER = "other"
MODELS_MAX = 64


class Counter:
    """Sums by label values."""

    def __init__(self) -> None:
        self.values: dict[Labels, float] = {}

    def add(self, labels: Labels, amount: float = 1.0) -> None:
        self.values[labels] = self.values.get(labels, 0.0) + amount


class Histogram:
    """Observations by label values: counts per bin (the last is beyond all bounds), and their sum."""

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self.bounds = bounds
        self.values: dict[Labels, tuple[list[int], float]] = {}

    def add(self, labels: Labels, value: float) -> None:
        counts, total = self.values.get(labels) or ([0] * (len(self.bounds) + 1), 0.0)
        counts[bisect_left(self.bounds, value)] += 1
        self.values[labels] = (counts, total + value)


class ModelNames:
    """Which models may be a label value, so that no caller can make series by inventing names.

    A name is known once a job of it went well, or if one of our engines was to load it (routing has
    resolved it then). At most `MODELS_MAX`; everything else is "other".
    """

    def __init__(self, most: int = MODELS_MAX) -> None:
        self._known: set[str] = set()
        self._most = most

    def label(self, model: str, trusted: bool) -> str:
        """The label value for `model`."""
        if model in self._known:
            return model
        if not trusted or not model or len(self._known) >= self._most:
            return OTHER
        self._known.add(model)
        return model
