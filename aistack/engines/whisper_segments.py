"""What faster-whisper gives, as plain segments: times of the whole file, in order, none empty."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from aistack.chunks import Segment, Word
from aistack.engines.audio.samples import AudioPiece


class Order:
    """Keeps times in order: what a model dates before what came earlier begins where that began."""

    def __init__(self) -> None:
        self.segment = 0.0
        """Where the last segment ended."""
        self.word = 0.0
        """Where the last word began."""


def mapped(segments: Iterable[Any], piece: AudioPiece, order: Order) -> Iterator[Segment]:
    """The library's segments as ours: plain numbers, times of the whole file, in order, none empty."""

    def at(time: Any, least: float) -> float:
        return round(min(max(number(time) + piece.start, least), piece.end), 3)

    for found in segments:
        text = found.text.strip()
        if not text:
            continue
        start = at(found.start, order.segment)
        order.word = max(order.word, start)
        words = []
        for word in found.words or ():
            order.word = at(word.start, order.word)
            if word.word.strip():
                words.append(Word(order.word, at(word.end, order.word), word.word.strip()))
        end = max(at(found.end, start), max((word.end for word in words), default=0.0))
        order.segment = end
        yield Segment(
            start=start,
            end=end,
            text=text,
            words=tuple(words),
            seek=int(found.seek) + round(piece.start * 100),
            tokens=tuple(int(token) for token in found.tokens),
            temperature=number(found.temperature),
            avg_logprob=number(found.avg_logprob),
            compression_ratio=number(found.compression_ratio, 1.0),
            no_speech_prob=number(found.no_speech_prob),
        )


def number(value: Any, otherwise: float = 0.0) -> float:
    """A plain float; the neutral value in place of nothing, NaN and infinity."""
    plain = otherwise if value is None else float(value)
    return plain if math.isfinite(plain) else otherwise
