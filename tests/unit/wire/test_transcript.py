"""Transcripts as clients read them: five whole formats, and the stream through two real SSE readers."""

from __future__ import annotations

import json
import math
from collections.abc import Generator, Iterator
from typing import Any

import httpx
import httpx_sse
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from openai._streaming import SSEDecoder

from aistack import errors
from aistack.chunks import Chunk, Head, Notice, Piece, Progress, Result, Segment, Token, Transcript, Word
from aistack.contract.converters import structure
from aistack.contract.public import (
    FilePart,
    StreamEvent,
    TranscriptionForm,
    TranscriptionJson,
    TranscriptionVerbose,
)
from aistack.engines.segments import spaced
from aistack.wire.base import StreamWire
from aistack.wire.transcript import StreamedTranscript, WholeTranscript, transcript_wire

MODEL = "whisper-small"
TEN = {
    "id",
    "seek",
    "start",
    "end",
    "text",
    "tokens",
    "temperature",
    "avg_logprob",
    "compression_ratio",
    "no_speech_prob",
}

HELLO = Segment(0.0, 1.7, "Hello world.", (Word(0.0, 0.4, " Hello"), Word(0.4, 1.7, " world.")))
SECOND = Segment(1.7, 4.2, "This is the second segment.", (Word(1.7, 2.0, " This"),), lead=" ")
DONE = Transcript("en", 17.18, "Hello world. This is the second segment.")
FORMATS = ("json", "text", "verbose_json", "srt", "vtt")


def whole(format: Any, *segments: Segment, done: Transcript = DONE, **options: Any) -> Any:
    return WholeTranscript(format, MODEL, **options).body(segments, done)


def verbose(*segments: Segment, done: Transcript = DONE, **options: Any) -> dict[str, Any]:
    body = whole("verbose_json", *segments, done=done, **options).body
    plain: dict[str, Any] = json.loads(body, parse_constant=lambda word: pytest.fail(word))
    assert structure(json.loads(body), TranscriptionVerbose).text == plain["text"]
    return plain


def nothing_null(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(nothing_null, value.values()))
    if isinstance(value, list):
        return all(map(nothing_null, value))
    return value is not None


# --- whole -------------------------------------------------------------------------------------------


def test_a57_a58_json_is_exactly_the_text() -> None:
    answer = whole("json", HELLO, SECOND)
    assert json.loads(answer.body) == {"text": DONE.text}
    assert structure(json.loads(answer.body), TranscriptionJson).text == DONE.text
    assert answer.content_type.startswith("application/json")


def test_a64_text_is_the_bare_transcript() -> None:
    answer = whole("text", HELLO, done=Transcript("zh", 1.0, "你好，世界"))
    assert answer.body.decode() == "你好，世界"
    assert answer.content_type == "text/plain; charset=utf-8"


def test_a59_verbose_has_every_member_of_the_guide_and_of_openai() -> None:
    plain = verbose(HELLO, SECOND)
    assert set(plain) == {"task", "language", "duration", "text", "segments", "words", "usage"}
    assert plain["task"] == "transcribe"
    assert plain["language"] == "en"
    assert plain["duration"] == 17.18
    assert plain["usage"] == {"type": "duration", "seconds": 18}
    assert (
        plain["segments"][0] | {"id": 0, "start": 0.0, "end": 1.7, "text": "Hello world."}
        == (plain["segments"][0])
    )
    assert plain["words"][0] == {"start": 0.0, "end": 0.4, "word": "Hello"}


def test_a60_segments_count_from_zero() -> None:
    assert [each["id"] for each in verbose(HELLO, SECOND)["segments"]] == [0, 1]


def test_a111_all_ten_fields_are_numbers_or_lists_even_where_the_engine_has_none() -> None:
    bare = Segment(0.0, 1.0, "hi")
    (segment,) = verbose(bare)["segments"]
    assert set(segment) == TEN
    assert segment["seek"] == 0 and segment["tokens"] == []
    assert segment["temperature"] == segment["avg_logprob"] == segment["no_speech_prob"] == 0
    assert segment["compression_ratio"] == 1


def test_a111_values_of_the_engine_are_kept() -> None:
    told = evolve(HELLO, seek=3, tokens=(7, 8), temperature=0.2, avg_logprob=-0.31, no_speech_prob=0.01)
    (segment,) = verbose(evolve(told, compression_ratio=1.25))["segments"]
    assert (segment["seek"], segment["tokens"], segment["temperature"]) == (3, [7, 8], 0.2)
    assert (segment["avg_logprob"], segment["no_speech_prob"]) == (-0.31, 0.01)
    assert segment["compression_ratio"] == 1.25


def test_a61_words_in_time_order_over_all_segments() -> None:
    words = verbose(HELLO, SECOND)["words"]
    assert [word["word"] for word in words] == ["Hello", "world.", "This"]
    assert [word["start"] for word in words] == sorted(word["start"] for word in words)
    assert all(word["start"] <= word["end"] for word in words)


def test_words_are_absent_when_the_engine_has_none_and_when_unwanted() -> None:
    assert "words" not in verbose(Segment(0, 1, "hi"))
    assert "words" not in verbose(HELLO, words=False)
    assert "words" in verbose(HELLO, Segment(2, 3, "hi"))


def test_a72_silence_is_empty_everywhere() -> None:
    silence = Transcript("und", 3.0, "")
    plain = verbose(done=silence)
    assert (plain["text"], plain["segments"], plain["words"]) == ("", [], [])
    assert json.loads(whole("json", done=silence).body) == {"text": ""}
    assert whole("text", done=silence).body == b""
    assert whole("srt", done=silence).body == b""
    assert whole("vtt", done=silence).body == b"WEBVTT\n\n"


def test_subtitle_types() -> None:
    assert whole("srt", HELLO).content_type == "text/plain; charset=utf-8"
    assert whole("vtt", HELLO).content_type == "text/vtt; charset=utf-8"
    assert whole("vtt", HELLO).body.startswith(b"WEBVTT\n\n00:00:00.000 --> 00:00:01.700\nHello world.")


def test_language_nobody_told_is_und() -> None:
    assert verbose(done=Transcript("", 1.0))["language"] == "und"


def test_task_says_translate() -> None:
    assert verbose(HELLO, task="translate")["task"] == "translate"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_does_not_know_never_leaves(value: float) -> None:
    bad = Segment(
        value,
        value,
        "hi",
        (Word(value, value, "hi"),),
        temperature=value,
        avg_logprob=value,
        compression_ratio=value,
        no_speech_prob=value,
    )
    plain = verbose(bad, done=Transcript("en", value, "hi"))
    assert nothing_null(plain)
    assert plain["segments"][0]["compression_ratio"] == 1
    assert plain["usage"]["seconds"] == 0
    wire = StreamedTranscript(MODEL)
    for frame in (wire.frame(bad), wire.tail(Transcript("en", value, "hi"))):
        assert frame is not None
        json.loads(frame[6:], parse_constant=lambda word: pytest.fail(word))


def test_times_that_run_backwards_are_put_right() -> None:
    plain = verbose(Segment(2.0, 1.0, "hi", (Word(2.0, 1.5, "hi"),)))
    assert plain["segments"][0]["end"] == plain["segments"][0]["start"] == 2.0
    assert plain["words"][0]["end"] == 2.0


def test_what_was_heard_beside_words_is_told_as_far_as_the_contract_knows_it() -> None:
    heard = evolve(HELLO, extra={"emotion": "HAPPY", "events": ["Laughter"], "secret": 1})
    (segment,) = verbose(heard)["segments"]
    assert set(segment) == TEN | {"emotion", "events"}
    assert (segment["emotion"], segment["events"]) == ("HAPPY", ["Laughter"])
    delta = read(StreamedTranscript(MODEL).frame(heard))[0]
    assert delta["segment"]["events"] == ["Laughter"] and "secret" not in delta["segment"]


@pytest.mark.parametrize("format", FORMATS)
def test_the_model_is_told_in_a_header(format: Any) -> None:
    assert ("X-Aistack-Model", MODEL) in whole(format, HELLO).headers


@pytest.mark.parametrize("name", ["größe", "a\r\nSet-Cookie: x", "模型", "iic/SenseVoiceSmall"])
def test_no_name_can_break_the_header(name: str) -> None:
    ((_, value),) = WholeTranscript("json", name).body((), DONE).headers
    assert value.isascii() and value.isprintable()
    assert ("/" in name) == ("/" in value)


def test_lone_surrogates_do_not_break_an_answer() -> None:
    torn = Transcript("en", 1.0, "a\ud800b")
    for format in FORMATS:
        whole(format, Segment(0, 1, "a\ud800b"), done=torn).body.decode()


# --- which wire --------------------------------------------------------------------------------------


def asked(**fields: Any) -> TranscriptionForm:
    return TranscriptionForm(file=FilePart("x"), **fields)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [(None, True), (("word",), True), (("segment",), False), (("word", "segment"), True)],
)
def test_granularities_decide_about_words(wanted: Any, words: bool) -> None:
    wire = transcript_wire(asked(response_format="verbose_json", timestamp_granularities=wanted), MODEL)
    assert wire == WholeTranscript("verbose_json", MODEL, "transcribe", words)


def test_stream_wins_over_the_format_and_translate_is_told() -> None:
    assert transcript_wire(asked(stream=True, response_format="srt"), MODEL) == StreamedTranscript(MODEL)
    told = transcript_wire(asked(translate=True), MODEL)
    assert isinstance(told, WholeTranscript) and told.task == "translate"
    forced = transcript_wire(asked(), MODEL, translate=True)
    assert isinstance(forced, WholeTranscript) and forced.task == "translate"


# --- streamed ----------------------------------------------------------------------------------------


def by_httpx_sse(data: bytes) -> list[dict[str, Any]]:
    answer = httpx.Response(
        200, headers={"content-type": "text/event-stream; charset=utf-8"}, content=data
    )
    return [json.loads(event.data) for event in httpx_sse.EventSource(answer).iter_sse()]


def by_openai(data: bytes) -> list[dict[str, Any]]:
    return [event.json() for event in SSEDecoder().iter_bytes(iter([data]))]


def by_lines(data: bytes) -> list[dict[str, Any]]:
    """The naive reader: whatever `str.splitlines` calls a line."""
    return [json.loads(line[6:]) for line in data.decode().splitlines() if line.startswith("data: ")]


def read(data: bytes | None) -> list[dict[str, Any]]:
    """The events in `data`, if three readers agree on them and the contract knows them."""
    assert data is not None
    assert data.endswith(b"\n\n")
    events = by_httpx_sse(data)
    assert events == by_openai(data) == by_lines(data)
    for event in events:
        structure(event, StreamEvent)
        assert nothing_null({key: value for key, value in event.items() if key != "error"})
    return events


def played(wire: StreamWire, run: Iterator[Any]) -> bytes:
    """All the bytes of a stream whose engine yields `run`."""
    chunks, result = collected(run)
    return b"".join(wire.frame(chunk) or b"" for chunk in chunks) + (wire.tail(result) or b"")


def collected(run: Iterator[Any]) -> tuple[list[Chunk], Result]:
    """What an engine yields, as the child process passes it on, and its result."""
    generator = spaced(run)
    chunks: list[Chunk] = []
    while True:
        try:
            item = next(generator)
        except StopIteration as stop:
            return chunks, stop.value
        assert not isinstance(item, Progress)
        chunks.append(item)


def test_a118_a140_the_head() -> None:
    head = StreamedTranscript(MODEL).head(None)
    assert (head.status, head.content_type, head.sse) == (200, "text/event-stream", True)
    assert ("Cache-Control", "no-cache") in head.headers
    assert ("X-Aistack-Model", MODEL) in head.headers


def test_a122_a123_a124_the_guides_example() -> None:
    wire = StreamedTranscript(MODEL)
    first, second, done = read(
        (wire.frame(HELLO) or b"") + (wire.frame(SECOND) or b"") + (wire.tail(DONE) or b"")
    )
    assert first == {
        "type": "transcript.text.delta",
        "delta": "Hello world.",
        "segment": {
            "start": 0.0,
            "end": 1.7,
            "text": "Hello world.",
            "words": [
                {"start": 0.0, "end": 0.4, "word": "Hello"},
                {"start": 0.4, "end": 1.7, "word": "world."},
            ],
        },
    }
    assert second["delta"] == " This is the second segment."
    assert second["segment"]["text"] == "This is the second segment."
    assert done == {
        "type": "transcript.text.done",
        "text": DONE.text,
        "language": "en",
        "duration": 17.18,
    }


def test_a119_one_compact_line_per_event_and_nothing_else() -> None:
    frame = StreamedTranscript(MODEL).frame(HELLO)
    assert frame is not None and frame.startswith(b'data: {"type":"transcript.text.delta","delta":"')
    assert frame.count(b"\n") == 2 and b"\r" not in frame


def test_a126_a127_the_warning_is_harmless_to_clients_that_join_every_event() -> None:
    notice = Notice("streaming_not_supported", "nvidia/parakeet-tdt-0.6b-v3", "It does not stream.")
    (event,) = read(StreamedTranscript("nvidia/parakeet-tdt-0.6b-v3").frame(notice))
    assert event == {
        "type": "warning",
        "code": "streaming_not_supported",
        "model": "nvidia/parakeet-tdt-0.6b-v3",
        "message": "It does not stream.",
        "delta": "",
        "text": "",
    }


@pytest.mark.parametrize(
    "fault",
    [
        errors.internal("Faster-Whisper"),
        errors.out_of_memory("Faster-Whisper", "finish"),
        errors.shutting_down(),
        errors.busy("busy", op="transcribe", model=MODEL, since_s=1.5),
    ],
)
def test_a133_a134_an_error_is_flat_and_nested_and_ends_the_stream_cleanly(fault: Any) -> None:
    frame, clean = StreamedTranscript(MODEL).fault(fault)
    assert clean
    (event,) = read(frame)
    assert event["type"] == "error"
    assert event["error"] == errors.error_object(fault)
    for member in ("kind", "provider", "message"):
        assert event[member] == event["error"][member]
    assert (event["delta"], event["text"]) == ("", "")


def test_an_error_with_a_number_json_does_not_know_still_leaves() -> None:
    frame, _ = StreamedTranscript(MODEL).fault(errors.busy("b", op="x", model="m", since_s=math.nan))
    assert read(frame)[0]["error"]["holder"]["since_s"] == 0


def test_a138_a141_silence_is_one_done_and_no_end_mark() -> None:
    data = played(StreamedTranscript(MODEL), run_of([], Transcript("und", 2.0)))
    assert [event["type"] for event in read(data)] == ["transcript.text.done"]
    assert b"[DONE]" not in data


def test_a139_text_stays_utf8() -> None:
    frame = StreamedTranscript(MODEL).frame(Segment(0, 1, "naïve 你好 🎧"))
    assert frame is not None and "naïve 你好 🎧".encode() in frame


def test_other_chunks_do_not_show() -> None:
    wire = StreamedTranscript(MODEL)
    assert [wire.frame(chunk) for chunk in (Head(200, ()), Piece(b"x"), Token("x"))] == [None] * 3


def run_of(segments: list[Segment], end: Transcript) -> Generator[Segment, None, Transcript]:
    yield from segments
    return end


texts = st.text(
    st.one_of(st.characters(codec="utf-8"), st.sampled_from("a b.,你好ที่か 한\n\r\t\x85\u2028\u2029\x0c"))
)


@given(st.lists(texts, max_size=6))
def test_joined_deltas_are_the_transcript_in_every_format(said: list[str]) -> None:
    segments = [Segment(i, i + 1, text, (Word(i, i + 1, text),)) for i, text in enumerate(said)]
    events = read(played(StreamedTranscript(MODEL), run_of(segments, Transcript("en", 9.0))))
    *deltas, done = events
    assert done["type"] == "transcript.text.done"
    assert "".join(event["delta"] for event in deltas) == done["text"]
    assert [event["segment"]["text"] for event in deltas] == [s.strip() for s in said if s.strip()]

    parts, result = collected(run_of(segments, Transcript("en", 9.0)))
    plain = json.loads(WholeTranscript("verbose_json", MODEL).body(parts, result).body)
    assert plain["text"] == done["text"]
    assert [each["text"] for each in plain["segments"]] == [e["segment"]["text"] for e in deltas]
    assert WholeTranscript("text", MODEL).body(parts, result).body.decode() == done["text"]


def test_a62_english_has_blanks_and_chinese_none() -> None:
    def text(*said: str) -> str:
        run = run_of([Segment(i, i + 1, each) for i, each in enumerate(said)], Transcript("x", 2))
        joined: str = read(played(StreamedTranscript(MODEL), run))[-1]["text"]
        return joined

    assert text("Hello there.", "How are you?") == "Hello there. How are you?"
    assert text("你好。", "世界。") == "你好。世界。"
    assert text("안녕", "세계") == "안녕 세계"
