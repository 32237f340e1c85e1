"""Long audio in overlapping windows of equal length, from a stream of blocks, in bounded memory.

A window starts every `length - overlap` seconds. A tail that would be shorter than `least` is not a
window of its own: the window before it takes it along, so the last one can be longer than the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RATE = 16_000


@frozen
class Cut:
    """How long audio is cut, in seconds."""

    length: float = 720.0
    overlap: float = 120.0
    least: float = field(default=300.0)

    @least.validator
    def _fits(self, _attribute: object, least: float) -> None:
        if not 0 <= self.overlap < self.length or least < self.overlap:
            raise ValueError("windows need 0 <= overlap < length and least >= overlap")

    @property
    def stride(self) -> float:
        return self.length - self.overlap


@frozen(eq=False)
class AudioWindow:
    """A stretch of the audio: where it starts (seconds), and its samples as float32 in [-1, 1]."""

    start: float
    samples: NDArray[np.float32]

    @property
    def end(self) -> float:
        return self.start + self.samples.size / RATE


def windows(blocks: Iterator[NDArray[np.int16]], cut: Cut) -> Iterator[AudioWindow | None]:
    """The windows of 16 kHz audio; `None` after each block that completes none, as a sign of life.

    At most `max(length, stride + least)` seconds and one block are held.
    """
    import numpy as np

    length, stride = round(cut.length * RATE), round(cut.stride * RATE)
    enough = max(length, stride + round(cut.least * RATE))
    held: list[NDArray[np.int16]] = []
    size = start = 0
    for block in blocks:
        held.append(block)
        size += block.size
        if size < enough:
            yield None
        while size >= enough:
            whole = np.concatenate(held)
            yield AudioWindow(start / RATE, _floats(whole[:length]))
            held, size = [whole[stride:].copy()], size - stride
            start += stride
    if size:
        yield AudioWindow(start / RATE, _floats(np.concatenate(held)))


def _floats(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    import numpy as np

    return np.divide(samples, np.float32(32768.0), dtype=np.float32)
