"""A transcription's answer: whole (five formats) or streamed (server-sent events). Pure.

The text is what `engines.base.spaced` made of it: `lead + text` of all segments joined. So every
format and the stream carry the same transcript. Frames are complete (`data: {...}` and the blank
line): the delivery writes the bytes as they are. Source: seed 003 section 4; OpenAI's additions are
only ever beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast
from urllib.parse import quote

from attrs import frozen

from aistack.chunks import Chunk, Notice, Result, Segment, Transcript, Word
from aistack.contract.converters import dumps, finite, to_json
from aistack.contract.public import (
    DeltaEvent,
    DeltaSegment,
    DoneEvent,
    ResponseFormat,
    Task,
    TranscriptionForm,
    TranscriptionJson,
    TranscriptionSegment,
    TranscriptionUsage,
    TranscriptionVerbose,
    TranscriptionWord,
    WarningEvent,
)
from aistack.errors import Fault, error_object
from aistack.wire import subtitles
from aistack.wire.base import Answer, StreamHead, StreamWire, WholeWire, Wire
from aistack.wire.sse import event

PLAIN = "text/plain; charset=utf-8"
VTT = "text/vtt; charset=utf-8"
UNDETERMINED = "und"
"""The language of an answer that neither the model nor the caller named (ISO 639-2)."""


def transcript_wire(form: TranscriptionForm, model: str, translate: bool = False) -> Wire:
    """The wire for a request; `model` is the id that was chosen for it."""
    if form.stream:
        return StreamedTranscript(model)
    wanted = form.timestamp_granularities
    return WholeTranscript(
        form.response_format,
        model,
        "translate" if translate or form.translate else "transcribe",
        words=wanted is None or "word" in wanted,
    )


@frozen
class WholeTranscript(WholeWire):
    """One answer for the whole audio. `words`: whether verbose_json carries them."""

    format: ResponseFormat
    model: str
    task: Task = "transcribe"
    words: bool = True

    def body(self, parts: Sequence[Chunk], result: Result) -> Answer:
        done = cast(Transcript, result)
        segments = [part for part in parts if isinstance(part, Segment)]
        headers = model_header(self.model)
        match self.format:
            case "json":
                return Answer(200, to_json(TranscriptionJson(text=done.text)), headers=headers)
            case "verbose_json":
                return Answer(200, to_json(self._verbose(segments, done)), headers=headers)
            case "text":
                return Answer(200, _utf8(done.text), PLAIN, headers)
            case "srt":
                return Answer(200, _utf8(subtitles.srt(segments)), PLAIN, headers)
            case "vtt":
                return Answer(200, _utf8(subtitles.vtt(segments)), VTT, headers)

    def _verbose(self, segments: Sequence[Segment], done: Transcript) -> TranscriptionVerbose:
        duration = _seconds(done.duration)
        return TranscriptionVerbose(
            task=self.task,
            language=done.language or UNDETERMINED,
            duration=duration,
            text=done.text,
            segments=tuple(_segment(number, each) for number, each in enumerate(segments)),
            words=self._words(segments),
            usage=TranscriptionUsage(seconds=math.ceil(duration)),
        )

    def _words(self, segments: Sequence[Segment]) -> tuple[TranscriptionWord, ...] | None:
        """None if unwanted, or if there is text and the engine gave no words at all for it."""
        if not self.words or (segments and all(each.words is None for each in segments)):
            return None
        return tuple(word for each in segments for word in _words(each.words))


@frozen
class StreamedTranscript(StreamWire):
    """Server-sent events: one delta per segment, then done; the format of the answer is fixed."""

    model: str

    def head(self, chunk: Chunk | None) -> StreamHead:
        return StreamHead(headers=(("Cache-Control", "no-cache"), *model_header(self.model)))

    def frame(self, chunk: Chunk) -> bytes | None:
        match chunk:
            case Segment():
                return event(to_json(_delta(chunk)))
            case Notice():
                warning = WarningEvent(code=chunk.code, model=chunk.model, message=chunk.message)
                return event(to_json(warning))
            case _:
                return None

    def tail(self, result: Result) -> bytes | None:
        done = cast(Transcript, result)
        return event(
            to_json(
                DoneEvent(
                    text=done.text,
                    language=done.language or UNDETERMINED,
                    duration=_seconds(done.duration),
                )
            )
        )

    def fault(self, fault: Fault) -> tuple[bytes | None, bool]:
        """The error is the last event and the stream ends cleanly after it.

        Both flat (seed 003) and nested under `error` (what OpenAI's clients raise on).
        """
        error = error_object(fault)
        failure = {
            "type": "error",
            "kind": error["kind"],
            "provider": error["provider"],
            "message": error["message"],
            "error": error,
            "delta": "",
            "text": "",
        }
        return event(dumps(failure)), True


def model_header(model: str) -> tuple[tuple[str, str], ...]:
    """`X-Aistack-Model`: the id that serves the request, percent-encoded where it is not plain ASCII."""
    return (("X-Aistack-Model", quote(model, safe=" !#$&'()*+,/:;=?@[]~")),)


def _delta(segment: Segment) -> DeltaEvent:
    start, end = _span(segment.start, segment.end)
    return DeltaEvent(
        delta=segment.lead + segment.text,
        segment=DeltaSegment(
            start=start,
            end=end,
            text=segment.text,
            words=_words(segment.words),
            emotion=_emotion(segment),
            events=_events(segment),
        ),
    )


def _segment(number: int, segment: Segment) -> TranscriptionSegment:
    start, end = _span(segment.start, segment.end)
    return TranscriptionSegment(
        id=number,
        seek=segment.seek,
        start=start,
        end=end,
        text=segment.text,
        tokens=segment.tokens,
        temperature=finite(segment.temperature),
        avg_logprob=finite(segment.avg_logprob),
        compression_ratio=finite(segment.compression_ratio, 1.0),
        no_speech_prob=finite(segment.no_speech_prob),
        emotion=_emotion(segment),
        events=_events(segment),
    )


def _emotion(segment: Segment) -> str | None:
    emotion = segment.extra.get("emotion")
    return str(emotion) if emotion else None


def _events(segment: Segment) -> tuple[str, ...] | None:
    """Sounds beside the words, where the engine names them."""
    events = segment.extra.get("events")
    return tuple(str(name) for name in events) if events else None


def _words(words: Sequence[Word] | None) -> tuple[TranscriptionWord, ...]:
    found = []
    for each in words or ():
        word = each.word.strip()
        if word:
            start, end = _span(each.start, each.end)
            found.append(TranscriptionWord(start=start, end=end, word=word))
    return tuple(found)


def _span(start: float, end: float) -> tuple[float, float]:
    start = _seconds(start)
    return start, max(_seconds(end), start)


def _seconds(value: float) -> float:
    """Seconds that JSON can carry, to the millisecond."""
    return round(max(finite(value), 0.0), 3)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")
