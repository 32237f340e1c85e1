"""Words into sentences and subtitle cues."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aistack.chunks import Word
from aistack.engines.text.sentences import segments, sentences, subtitles, text_of


def said(text: str, step: float = 0.5) -> list[Word]:
    """Words in equal steps; `~` is a silent step."""
    words, at = [], 0.0
    for part in text.split():
        if part != "~":
            words.append(Word(at, round(at + step * 0.8, 3), part))
        at = round(at + step, 3)
    return words


def texts(groups: Iterable[Sequence[Word]]) -> list[str]:
    return [text_of(group) for group in groups]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("one two. three", ["one two.", "three"]),
        ("why? yes! so", ["why?", "yes!", "so"]),
        ('he said "no." and left', ['he said "no."', "and left"]),
        ("你好。 再见", ["你好。", "再见"]),
        ("pi is 3.14 roughly", ["pi is 3.14 roughly"]),
        ("one ~ two", ["one two"]),  # 0.6 s of silence
        ("one ~ ~ two", ["one", "two"]),  # 1.1 s
    ],
)
def test_a104_sentences(text: str, expected: list[str]) -> None:
    assert texts(sentences(said(text))) == expected


def test_a104_no_sentence_lasts_above_30_s() -> None:
    groups = sentences(said("word " * 200))
    assert [len(group) for group in groups] == [60, 60, 60, 20]
    assert all(group[-1].end - group[0].start <= 30 for group in groups)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("a b c. d e", ["a b c.", "d e"]),
        ("no. no. no. no. no.", ["no. no. no.", "no. no."]),  # no cue is closed before it lasts 1 s
        ("a b c ~ d e f", ["a b c", "d e f"]),  # 0.6 s of silence
        ("a ~ ~ ~ ~ ~ ~ ~ ~ ~ ~ ~ ~ ~ ~ ~ b", ["a", "b"]),  # the limits win over the shortest
    ],
)
def test_a103_cues(text: str, expected: list[str]) -> None:
    assert texts(subtitles(said(text))) == expected


def test_a103_a_long_cue_is_cut_at_a_comma_once_50_characters_have_gathered() -> None:
    long = "incomprehensibilities, internationalization, counterrevolutionaries, end of it"
    cues = texts(subtitles(said(long, 0.2)))
    assert cues == [
        "incomprehensibilities, internationalization, counterrevolutionaries,",
        "end of it",
    ]


@st.composite
def talk(draw: st.DrawFn) -> list[Word]:
    words, at = [], 0.0
    for _ in range(draw(st.integers(0, 60))):
        at += draw(st.sampled_from([0.0, 0.1, 0.4, 0.6, 0.8, 9.0]))
        end = at + draw(st.sampled_from([0.0, 0.1, 0.3, 0.9, 2.5]))
        body = draw(st.sampled_from(["a", "word", "incomprehensibilities", "x" * 40]))
        words.append(Word(at, end, body + draw(st.sampled_from(["", "", "", ",", ".", "?"]))))
        at = end
    return words


@given(talk(), st.sampled_from(["sentence", "subtitle"]))
def test_a102_every_word_is_in_exactly_one_segment(words: list[Word], granularity: str) -> None:
    found = list(segments(words, granularity))
    assert [word for segment in found for word in segment.words or ()] == words
    for segment in found:
        assert segment.words
        assert (segment.start, segment.end) == (segment.words[0].start, segment.words[-1].end)
        assert segment.text == " ".join(word.word for word in segment.words)


@given(talk())
def test_a103_cues_keep_within_70_characters_and_7_s(words: list[Word]) -> None:
    for segment in segments(words, "subtitle"):
        assert len(segment.text) <= 70
        assert segment.end - segment.start <= 7.0


@given(talk())
def test_a104_sentences_keep_within_30_s_and_hold_no_silence(words: list[Word]) -> None:
    for segment in segments(words, "sentence"):
        assert segment.end - segment.start <= 30.0
        inside = segment.words or ()
        for one, other in itertools.pairwise(inside):
            assert other.start - one.end <= 0.7
            assert one.word[-1] not in ".?"
