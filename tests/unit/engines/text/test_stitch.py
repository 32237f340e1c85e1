"""Windows of long audio, and the words of two windows on one timeline."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aistack.chunks import Word
from aistack.engines.audio.samples import RATE
from aistack.engines.audio.windows import Cut, windows
from aistack.engines.text.stitch import common, normalised, ordered, stitched

# --- windows -----------------------------------------------------------------------------------------


def spans(seconds: float, cut: Cut, block_s: float = 1.0) -> list[tuple[float, float]]:
    """Start and end of each window of `seconds` of audio whose samples count up."""
    samples = np.arange(round(seconds * RATE), dtype=np.int64).astype(np.int16)
    step = round(block_s * RATE)
    blocks = (samples[i : i + step] for i in range(0, samples.size, step))
    found = []
    for window in windows(blocks, cut):
        if window is not None:
            at = round(window.start * RATE)
            expected = samples[at : at + window.samples.size].astype(np.float32) / 32768
            assert np.array_equal(window.samples, expected)
            found.append((window.start, window.end))
    return found


SMALL = Cut(7.2, 1.2, 3.0)
"""The real proportions at a hundredth."""


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.5, [(0, 0.5)]),
        (7.2, [(0, 7.2)]),
        (8.9, [(0, 8.9)]),  # a tail under 3 s is not a window of its own
        (9.0, [(0, 7.2), (6, 9.0)]),
        (15.0, [(0, 7.2), (6, 13.2), (12, 15.0)]),  # the 25 minutes of the guide: three
        (30.0, [(0, 7.2), (6, 13.2), (12, 19.2), (18, 25.2), (24, 30.0)]),  # 50 minutes: five
        (32.9, [(0, 7.2), (6, 13.2), (12, 19.2), (18, 25.2), (24, 32.9)]),
    ],
)
def test_a106_windows_cover_the_audio_and_overlap(
    seconds: float, expected: list[tuple[float, float]]
) -> None:
    assert [time for span in spans(seconds, SMALL) for time in span] == pytest.approx(
        [time for span in expected for time in span]
    )


@given(
    st.floats(0.1, 40),
    st.floats(0.05, 3),
    st.tuples(st.floats(2, 8), st.floats(0, 1.9), st.floats(2, 5)),
)
def test_windows_of_any_cut_leave_nothing_out(
    seconds: float, block_s: float, lengths: tuple[float, float, float]
) -> None:
    cut = Cut(*lengths)
    found = spans(seconds, cut, block_s)
    assert found[0][0] == 0
    assert found[-1][1] == pytest.approx(seconds, abs=1e-3)
    for (start, end), (after, last) in itertools.pairwise(found):
        assert after == pytest.approx(start + cut.stride, abs=1e-3)
        assert end >= after + cut.overlap - 1e-3
        assert last - after >= min(cut.least, cut.length) - 1e-3


@pytest.mark.parametrize("lengths", [(720, 720, 720), (720, -1, 300), (720, 120, 60)])
def test_a_cut_that_would_lose_audio_is_refused(lengths: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="overlap"):
        Cut(*lengths)


# --- stitching ---------------------------------------------------------------------------------------


def spoken(text: str, start: float = 0.0, step: float = 1.0) -> list[Word]:
    """One word a second (or as told)."""
    return [
        Word(start + i * step, start + i * step + 0.5 * step, word)
        for i, word in enumerate(text.split())
        if word != "_"
    ]


def text(words: list[Word]) -> str:
    return " ".join(word.word for word in words)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("a b c d e f", "_ _ _ d e f g h", "a b c d e f g h"),
        ("a b c d e x", "_ _ _ y e f g h", "a b c d e f g h"),  # each is wrong at its edge
        ("a b c D, e f", "_ _ _ d E. f! g h", "a b c D, e f! g h"),  # case and marks do not matter
        ("a b c", "_ _ _ d e f", "a b c d e f"),  # only the right one heard the overlap
        ("a b c d e f", "_ _ _ _ _ _ g h", "a b c d e f g h"),  # only the left one
        ("a b c", "_ _ _ _ _ _ g h", "a b c g h"),  # a silent overlap
        ("one one one one one one", "_ _ _ one one one one one", "one " * 7 + "one"),
        ("a b c d e f", "_ _ _ x y z g h", "a b c d e z g h"),  # nothing common: the middle decides
        ("", "_ _ _ d e", "d e"),
        ("a b c d", "", "a b c d"),
    ],
)
def test_a106_seams(left: str, right: str, expected: str) -> None:
    assert text(stitched(spoken(left), spoken(right), 3.0, 6.0)) == expected.strip()


def test_the_same_word_at_another_time_is_another_word() -> None:
    left, right = spoken("stop _ _ _ _ _"), spoken("_ _ _ _ _ stop")
    assert common(left, right) == []
    assert text(stitched(left, right, 0.0, 6.0)) == "stop stop"


def test_of_equal_words_the_closest_in_time_are_paired() -> None:
    left, right = spoken("no no no", 0.0, 0.4), spoken("no no", 0.4, 0.4)
    assert common(left, right) == [(1, 0), (2, 1)]


def test_punctuation_alone_is_never_a_common_word() -> None:
    assert common(spoken("- - -"), spoken("- - -")) == []
    assert normalised("«Où?»") == "où"


WORDS = st.lists(st.sampled_from(["zero", "one", "two", "three", "four"]), min_size=8, max_size=60)


@given(WORDS, st.data())
def test_a106_no_word_is_doubled_or_lost_at_a_seam(truth: list[str], data: st.DataObject) -> None:
    """Both windows hear the middle of the overlap rightly, date it a little apart, and err at edges."""
    step = 0.5
    timeline = [Word(i * step, i * step + 0.4, word) for i, word in enumerate(truth)]
    start = data.draw(st.integers(0, len(truth) - 7))
    end = data.draw(st.integers(start + 7, len(truth)))
    jitter = st.floats(-0.09, 0.09)
    left = [_late(word, data.draw(jitter)) for word in timeline[:end]]
    right = [_late(word, data.draw(jitter)) for word in timeline[start:]]
    wrong = data.draw(st.sampled_from(["", "left", "right"]))
    if wrong == "left":
        left[-1] = Word(left[-1].start, left[-1].end, "rubbish")
    elif wrong == "right":
        right[0] = Word(right[0].start, right[0].end, "rubbish")
    found = stitched(left, right, start * step, end * step)
    assert [word.word for word in found] == truth


def _late(word: Word, by: float) -> Word:
    return Word(word.start + by, word.end + by, word.word)


@given(
    st.lists(st.tuples(st.floats(-1, 99), st.floats(-1, 99)), max_size=30),
    st.floats(0, 90),
)
def test_a107_times_are_in_order_whatever_they_were(
    times: list[tuple[float, float]], duration: float
) -> None:
    words = ordered([Word(start, end, "w") for start, end in times], duration)
    assert len(words) == len(times)
    before = 0.0
    for word in words:
        assert before <= word.start <= word.end <= round(duration, 3)
        before = word.end
