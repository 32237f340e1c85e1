"""Cutting a list of words with times into segments: sentences, or subtitle cues.

Sentences (the default) end after a full stop, question or exclamation mark, at a silence, and never
last more than half a minute. Subtitle cues also keep to the length that fits a line and can be read.
Source of the rules: the guide's `segment_granularity`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aistack.chunks import Segment, Word, separator

STOPS = ".!?。！？…｡"
COMMAS = ",;:、，；：،"
CLOSERS = "\"'”’»)]）」』"

SILENCE_S = 0.7
LONGEST_S = 30.0

CUE_SILENCE_S = 0.5
CUE_LONGEST_S = 7.0
CUE_SHORTEST_S = 1.0
CUE_CHARS = 70
CUE_COMMA_CHARS = 50

Words = Sequence[Word]


def text_of(words: Words) -> str:
    """Words as text, with blanks where the script has them."""
    text = ""
    for word in words:
        text += separator(text, word.word) + word.word
    return text


def ends_with(word: str, marks: str) -> bool:
    """Whether a word ends in one of the marks, closing quotes and brackets aside."""
    return word.rstrip(CLOSERS).endswith(tuple(marks))


def _duration(words: Words) -> float:
    return words[-1].end - words[0].start


def sentences(words: Words) -> list[Words]:
    """Groups of words that end at a sentence's end, before a silence over 0.7 s, or within 30 s.

    A single word longer than that stands alone.
    """
    groups: list[list[Word]] = []
    for word in words:
        last = groups[-1] if groups else None
        if (
            last is None
            or ends_with(last[-1].word, STOPS)
            or word.start - last[-1].end > SILENCE_S
            or word.end - last[0].start > LONGEST_S
        ):
            groups.append([word])
        else:
            last.append(word)
    return list(groups)


def subtitles(words: Words) -> list[Words]:
    """Cues of at most 70 characters and 7 s (single words that exceed them stand alone).

    Three passes: at sentence ends, silences and limits, but no cue is closed before it lasts 1 s;
    what is too long is cut at commas once 50 characters have gathered; the rest is cut hard.
    """
    cues: list[Words] = []
    for cue in _by_meaning(words):
        for part in (cue,) if _fits(cue) else _at_commas(cue):
            cues.extend((part,) if _fits(part) else _hard(part))
    return cues


def _fits(words: Words) -> bool:
    return len(text_of(words)) <= CUE_CHARS and _duration(words) <= CUE_LONGEST_S


def _by_meaning(words: Words) -> list[Words]:
    cues: list[list[Word]] = []
    for word in words:
        last = cues[-1] if cues else None
        if last is None or (
            _duration(last) >= CUE_SHORTEST_S
            and (
                ends_with(last[-1].word, STOPS)
                or word.start - last[-1].end > CUE_SILENCE_S
                or not _fits([*last, word])
            )
        ):
            cues.append([word])
        else:
            last.append(word)
    return list(cues)


def _at_commas(words: Words) -> list[Words]:
    parts: list[list[Word]] = [[]]
    for word in words:
        parts[-1].append(word)
        if ends_with(word.word, COMMAS) and len(text_of(parts[-1])) >= CUE_COMMA_CHARS:
            parts.append([])
    return [part for part in parts if part]


def _hard(words: Words) -> list[Words]:
    parts: list[list[Word]] = []
    for word in words:
        if parts and _fits([*parts[-1], word]):
            parts[-1].append(word)
        else:
            parts.append([word])
    return list(parts)


def segments(words: Words, granularity: str) -> Iterable[Segment]:
    """The words as segments; `granularity` is `sentence` or `subtitle`."""
    for group in subtitles(words) if granularity == "subtitle" else sentences(words):
        yield Segment(group[0].start, group[-1].end, text_of(group), tuple(group))


PHRASE_S = 7.0
PHRASE_LONGEST_S = 12.0


def phrases(words: Words) -> list[Words]:
    """Groups for long stretches of speech: each ends at a sentence's end, from 7 s on at the latest
    comma, and at 12 s where there is none."""
    groups: list[Words] = []
    current: list[Word] = []
    for word in words:
        current.append(word)
        if ends_with(word.word, STOPS) or _duration(current) >= PHRASE_LONGEST_S:
            groups.append(current)
            current = []
        elif _duration(current) >= PHRASE_S:
            commas = [i for i, held in enumerate(current, 1) if ends_with(held.word, COMMAS)]
            if commas:
                groups.append(current[: commas[-1]])
                current = current[commas[-1] :]
    return [*groups, current] if current else groups
