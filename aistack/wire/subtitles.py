"""Segments as SubRip and WebVTT. Pure.

One cue per segment, on one line, so that no text can end a cue early; starts never go back and
every cue lasts at least a millisecond, which WebVTT demands. Source for WebVTT:
https://www.w3.org/TR/webvtt1/ ; SubRip has no standard beyond its readers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from aistack.chunks import Segment
from aistack.contract.converters import finite

_CONTROLS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), " ")
_ARROW = re.compile("(?<!-)-{2,}+>")
"""What readers take for the line of times. A row of dashes is looked at once, from its first."""


def srt(segments: Sequence[Segment]) -> str:
    """SubRip: numbered from 1, times as HH:MM:SS,mmm. No segments: an empty file."""
    return "".join(
        f"{number}\n{clock(start, ',')} --> {clock(end, ',')}\n{_ARROW.sub('->', text)}\n\n"
        for number, (start, end, text) in enumerate(_cues(segments), 1)
    )


def vtt(segments: Sequence[Segment]) -> str:
    """WebVTT: times as HH:MM:SS.mmm, `&`, `<` and `>` escaped. No segments: the header alone."""
    return "WEBVTT\n\n" + "".join(
        f"{clock(start, '.')} --> {clock(end, '.')}\n{_escaped(text)}\n\n"
        for start, end, text in _cues(segments)
    )


def clock(milliseconds: int, mark: str) -> str:
    """HH:MM:SS and milliseconds after `mark`; hours grow beyond two digits if they must."""
    seconds, thousandths = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{mark}{thousandths:03}"


def _cues(segments: Sequence[Segment]) -> Iterator[tuple[int, int, str]]:
    """Start, end (milliseconds) and one line of text for each segment that has any."""
    before = 0
    for segment in segments:
        text = " ".join(segment.text.translate(_CONTROLS).split())
        if not text:
            continue
        start = max(_milliseconds(segment.start), before)
        yield start, max(_milliseconds(segment.end), start + 1), text
        before = start


def _milliseconds(seconds: float) -> int:
    return round(max(finite(seconds), 0.0) * 1000)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
