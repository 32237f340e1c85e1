"""Long audio in overlapping windows of equal length, from a stream of blocks, in bounded memory.

A window starts every `length - overlap` seconds. A tail that would be shorter than `least` is not a
window of its own: the window before it takes it along, so the last one can be longer than the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from attrs import field, frozen

from aistack.engines.audio.samples import RATE, AudioPiece, as_floats

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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


def windows(blocks: Iterator[NDArray[np.int16]], cut: Cut) -> Iterator[AudioPiece | None]:
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
            yield AudioPiece(start / RATE, as_floats(whole[:length]))
            held, size = [whole[stride:].copy()], size - stride
            start += stride
    if size:
        yield AudioPiece(start / RATE, as_floats(np.concatenate(held)))
