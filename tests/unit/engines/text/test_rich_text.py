"""SenseVoice's tags and words, without the library."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aistack.chunks import Word
from aistack.engines.text.rich_text import Rich, joined_tokens, parse_rich_text, placed
from aistack.engines.text.sentences import phrases


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            "<|en|><|NEUTRAL|><|Speech|><|withitn|> hello there.",
            Rich("hello there.", "en", "neutral", (), True),
        ),
        (
            "<|zh|><|HAPPY|><|BGM|><|woitn|>开放时间 早上9点",
            Rich("开放时间早上9点", "zh", "happy", ("bgm",), True),
        ),
        ("<|nospeech|><|EMO_UNKNOWN|><|BGM|><|woitn|>", Rich("", None, "unknown", ("bgm",), False)),
        (
            "<|ko|><|SAD|><|Speech|><|withitn|>안녕 하세요<|Laughter|> 네<|Laughter|>",
            Rich("안녕 하세요 네", "ko", "sad", ("laughter",), True),
        ),
        ("no tags", Rich("no tags", None, "unknown", (), True)),
        ("<|en|><|broken hello", Rich("hello", "en", "unknown", (), True)),
        ("", Rich("", None, "unknown", (), True)),
    ],
)
def test_a108_tags_are_taken_apart(raw: str, expected: Rich) -> None:
    assert parse_rich_text(raw) == expected


@given(st.lists(st.sampled_from(["<|", "|>", "<|en|>", "<|Cough|>", "a", "|", "<", ">", " ", "字"])))
def test_a108_no_tag_is_ever_left(parts: list[str]) -> None:
    text = parse_rich_text("".join(parts)).text
    assert "<|" not in text
    assert "|>" not in text
    assert text == text.strip()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  two  words ", "two words"),
        ("二 七 零。 一", "二七零。一"),
        ("今天 に あり", "今天にあり"),
        ("안녕 하세요", "안녕 하세요"),
        ("我 love 你", "我 love 你"),
    ],
)
def test_a109_blanks_where_the_script_has_them(text: str, expected: str) -> None:
    assert joined_tokens(text) == expected


def words(text: str, tokens: list[str]) -> list[str]:
    times = [[100 * i, 100 * i + 90] for i in range(len(tokens))]
    found = placed(text, tokens, times)
    assert [text[at.at :].startswith(at.word.word[:1]) for at in found] == [True] * len(found)
    return [at.word.word for at in found]


@pytest.mark.parametrize(
    ("text", "tokens", "expected"),
    [
        ("two seven. one.", ["▁two", "seven", ".", "one", "."], ["two", "seven.", "one."]),
        ("二七。一。", ["▁二", "七", "。", "一", "。"], ["二", "七。", "一。"]),
        ("I don't.", ["▁I", "don", "'", "t", "."], ["I", "don't."]),
        ("at 3.14 m", ["at", "3", ".", "1", "4", "m"], ["at", "3.14", "m"]),
        ("早上9点", ["早", "上", "9", "点"], ["早", "上", "9", "点"]),
        ("안녕 하세요", ["▁안", "녕", "▁하", "세요"], ["안녕", "하세요"]),
        ("a lost word", ["▁a", "word"], ["a lost", "word"]),
        ("nothing fits", ["▁xyz"], []),
        ("", [], []),
    ],
)
def test_a110_words_are_the_whole_text(text: str, tokens: list[str], expected: list[str]) -> None:
    assert words(text, tokens) == expected


def test_a110_a_words_times_are_those_of_its_tokens() -> None:
    found = placed(
        "don't go.", ["▁don", "'", "t", "go", "."], [[0, 9], [9, 12], [12, 20], [30, 40], [50, 60]]
    )
    assert [at.word for at in found] == [Word(0.0, 0.02, "don't"), Word(0.03, 0.04, "go.")]


@given(st.text(st.sampled_from("ab c.。字한"), max_size=40))
def test_a110_no_letter_is_lost(raw: str) -> None:
    text = joined_tokens(raw)
    tokens = [char for char in text if char != " "]
    found = placed(text, tokens, [[i, i + 1] for i in range(len(tokens))])
    if any(char.isalnum() for char in text):
        assert "".join(at.word.word for at in found).replace(" ", "") == text.replace(" ", "")
        ends = [at.at for at in found[1:]] + [len(text)]
        assert [text[at.at : end].strip() for at, end in zip(found, ends, strict=True)] == [
            at.word.word for at in found
        ]


# --- phrases -----------------------------------------------------------------------------------------


def said(text: str) -> list[Word]:
    """A word a second."""
    return [Word(float(i), i + 1.0, word) for i, word in enumerate(text.split())]


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("", []),
        ("a b. c d", [2, 2]),
        ("a b, c d e f", [6]),  # short enough as it is
        ("a b, c d e f g h", [2, 6]),  # at seven seconds back to the comma
        ("a b, c, d e f g h", [3, 5]),
        ("w " * 14, [12, 2]),  # no comma: at twelve seconds
    ],
)
def test_long_speech_is_cut_into_phrases(text: str, lengths: list[int]) -> None:
    found = phrases(said(text))
    assert [len(group) for group in found] == lengths
    assert [word for group in found for word in group] == said(text)
