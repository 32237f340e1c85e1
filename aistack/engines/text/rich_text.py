"""SenseVoice's rich text: tags apart from words, and words on the audio's timeline.

The model writes `<|en|><|NEUTRAL|><|Speech|><|withitn|>hello there`: the language it heard, how it
was said, what else was to be heard, whether numbers are written as digits, then the text. More tags
may stand in the middle of the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import frozen

from aistack.chunks import Word, unspaced

LANGUAGES = ("zh", "yue", "en", "ja", "ko")

EMOTIONS = {
    "HAPPY": "happy",
    "SAD": "sad",
    "ANGRY": "angry",
    "NEUTRAL": "neutral",
    "FEARFUL": "fearful",
    "DISGUSTED": "disgusted",
    "SURPRISED": "surprised",
    "EMO_UNKNOWN": "unknown",
}

SILENT = "nospeech"
_NO_EVENTS = {"Speech", "withitn", "woitn", "Event_UNK", "EMO_UNK", SILENT}

_TAG = re.compile(r"<\|([^<>|]*)\|>")
_BLANKS = re.compile(r"\s+")


@frozen
class Rich:
    """What one chunk of audio is: `text` without tags, `language` as detected, or None, `emotion`
    (unknown where the model cannot tell), `events` besides speech, `speech` whether there is any."""

    text: str
    language: str | None
    emotion: str
    events: tuple[str, ...]
    speech: bool


def parse_rich_text(raw: str) -> Rich:
    """The model's text, taken apart. No tag is ever left in `text`."""
    tags = _TAG.findall(raw)
    text = _TAG.sub(" ", raw)
    while "<|" in text or "|>" in text:  # what is left of a broken tag
        text = re.sub(r"<\|[^<>|\s]*|\|>", " ", text)
    languages = [tag for tag in tags if tag in LANGUAGES]
    emotions = [EMOTIONS[tag] for tag in tags if tag in EMOTIONS]
    events = dict.fromkeys(
        tag.lower()
        for tag in tags
        if tag and tag not in LANGUAGES and tag not in EMOTIONS and tag not in _NO_EVENTS
    )
    return Rich(
        joined_tokens(text),
        languages[0] if languages else None,
        emotions[0] if emotions else "unknown",
        tuple(events),
        SILENT not in tags,
    )


def joined_tokens(text: str) -> str:
    """One blank between words, and none between characters of scripts that write none."""
    text = _BLANKS.sub(" ", text).strip()
    kept = [
        char
        for i, char in enumerate(text)
        if char != " " or not (unspaced(text[i - 1]) and unspaced(text[i + 1]))
    ]
    return "".join(kept)


@frozen
class Placed:
    """A word, and the index in the text where it begins."""

    word: Word
    at: int


FAR = 12
"""Characters of the text that may be skipped to find the next token: more is another place."""


def placed(text: str, tokens: Sequence[str], times: Sequence[Sequence[float]]) -> list[Placed]:
    """The words of `text` with the times of the tokens they are made of.

    `tokens` are the model's pieces in order, `times` their start and end in milliseconds. A word is
    what stands between blanks, or a single character of a script without blanks; punctuation belongs
    to the word before it. Together the words are the whole text. None if no token is found in it.
    """
    found: list[tuple[int, float, float]] = []
    position = 0
    last = ""
    for token, (start, end) in zip(tokens, times, strict=False):
        token = token.replace("▁", "").strip()
        at = text.find(token, position, position + FAR + len(token)) if token else -1
        if at < 0:
            continue
        between, position = text[position:at], at + len(token)
        if not any(char.isalnum() for char in token):
            continue
        begins = not found or " " in between or unspaced(token[0]) or unspaced(last)
        begins = begins or " " in text[found[-1][0] : at]
        last = token[-1]
        if begins:
            found.append((at, start / 1000, end / 1000))
        else:
            found[-1] = (found[-1][0], found[-1][1], end / 1000)
    starts = [0 if i == 0 else at for i, (at, _, _) in enumerate(found)]
    ends = [*starts[1:], len(text)] if starts else []
    return [
        Placed(Word(start, end, text[at:until].strip()), at)
        for at, until, (_, start, end) in zip(starts, ends, found, strict=True)
    ]
