"""Samples as the speech models want them: 16 kHz, mono, float32 in [-1, 1]."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RATE = 16_000
"""Samples per second everywhere; what every speech model here was trained on."""


@frozen(eq=False)
class AudioPiece:
    """A stretch of a file: where it starts (seconds), and its samples as float32 in [-1, 1]."""

    start: float
    samples: NDArray[np.float32]

    @property
    def end(self) -> float:
        return self.start + self.samples.size / RATE


def as_floats(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """16-bit samples as float32 in [-1, 1]."""
    import numpy as np

    return np.divide(samples, np.float32(32768.0), dtype=np.float32)


def padded(samples: NDArray[np.float32], least: int) -> NDArray[np.float32]:
    """At least `least` samples, filled up with silence on the right only."""
    import numpy as np

    lacking = least - samples.size
    return np.pad(samples, (0, lacking)) if lacking > 0 else samples
