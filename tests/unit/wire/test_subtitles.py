"""Subtitle files that any reader can take apart again, whatever the text."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aistack.chunks import Segment
from aistack.wire.subtitles import clock, srt, vtt

SRT_TIMES = re.compile(r"(\d{2,}):([0-5]\d):([0-5]\d),(\d{3}) --> (\d{2,}):([0-5]\d):([0-5]\d),(\d{3})")
VTT_TIMES = re.compile(SRT_TIMES.pattern.replace("),(", r")\.("))


def milliseconds(groups: tuple[str, ...]) -> int:
    hours, minutes, seconds, rest = map(int, groups)
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + rest


def cue_of(lines: list[str], times: re.Pattern[str]) -> tuple[int, int, str]:
    match = times.fullmatch(lines[0])
    assert match, lines
    (text,) = lines[1:]
    return milliseconds(match.groups()[:4]), milliseconds(match.groups()[4:]), text


def read_srt(file: str) -> list[tuple[int, int, str]]:
    """An independent reader: blocks between blank lines, a number, times, one line of text."""
    blocks = [block.splitlines() for block in file.split("\n\n") if block]
    assert [block[0] for block in blocks] == [str(n) for n in range(1, len(blocks) + 1)]
    return [cue_of(block[1:], SRT_TIMES) for block in blocks]


def read_vtt(file: str) -> list[tuple[int, int, str]]:
    header, *blocks = [block for block in file.split("\n\n") if block]
    assert header == "WEBVTT"
    return [cue_of(block.splitlines(), VTT_TIMES) for block in blocks]


def test_times() -> None:
    assert clock(0, ",") == "00:00:00,000"
    assert clock(3_723_004, ".") == "01:02:03.004"
    assert clock(360_000_000, ".") == "100:00:00.000"


def test_srt_as_a_player_expects_it() -> None:
    assert srt([Segment(0.81, 7.14, "Hello."), Segment(3725.5, 3727, "Later.")]) == (
        "1\n00:00:00,810 --> 00:00:07,140\nHello.\n\n2\n01:02:05,500 --> 01:02:07,000\nLater.\n\n"
    )


def test_vtt_as_a_browser_expects_it() -> None:
    assert vtt([Segment(0.81, 7.14, "<b>Tom & Jerry</b>")]) == (
        "WEBVTT\n\n00:00:00.810 --> 00:00:07.140\n&lt;b&gt;Tom &amp; Jerry&lt;/b&gt;\n\n"
    )


def test_nothing_said() -> None:
    assert srt([]) == "" and vtt([]) == "WEBVTT\n\n"
    assert srt([Segment(0, 1, " \n ")]) == ""


@pytest.mark.parametrize(
    "text", ["-->", "--->", "a ----> b", "1\n\n2", "1\r\n00:00 --> 00:01", "- -> -->>"]
)
def test_no_text_can_break_a_cue(text: str) -> None:
    segments = [Segment(0, 1, text), Segment(1, 2, "next")]
    for read, write in ((read_srt, srt), (read_vtt, vtt)):
        cues = read(write(segments))
        assert len(cues) == 2 and cues[1][2] == "next"
        assert "-->" not in cues[0][2]


def test_numbers_go_on_over_cues_without_text() -> None:
    assert len(read_srt(srt([Segment(0, 1, "a"), Segment(1, 2, ""), Segment(2, 3, "b")]))) == 2


times = st.floats(allow_nan=True, allow_infinity=True, width=32)


@given(st.lists(st.builds(Segment, times, times, st.text()), max_size=8))
def test_cues_never_go_back_and_always_last(segments: list[Segment]) -> None:
    said = [segment for segment in segments if vtt([segment]) != "WEBVTT\n\n"]
    for cues in (read_srt(srt(segments)), read_vtt(vtt(segments))):
        assert len(cues) == len(said)
        starts = [start for start, _, _ in cues]
        assert starts == sorted(starts)
        assert all(start < end for start, end, _ in cues)
        assert all(text.strip() for _, _, text in cues)


def test_times_nobody_can_tell_become_zero() -> None:
    assert read_srt(srt([Segment(math.nan, math.inf, "a")])) == [(0, 1, "a")]
