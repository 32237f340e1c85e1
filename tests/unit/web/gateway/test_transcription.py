"""The transcription endpoints up to the job they hand in, with a scripted scheduler."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from aistack.chunks import Notice, Segment, Transcript, TranscriptionRequest
from aistack.config import Config, ServerSection, SlotsSection
from aistack.contract.forms import form
from aistack.contract.public import FilePart, TranscriptionForm
from aistack.errors import internal
from aistack.jobs.effects import Emit
from aistack.jobs.model import JobContext
from aistack.jobs.states import Op
from aistack.routing.facts import Chosen
from aistack.web.gateway.transcription import engine_request
from aistack.wire.base import StreamWire, WholeWire
from tests.doubles.web import Answered, Served, Submitted, a_file, get, multipart, named, post, serving

PATH = "/v1/audio/transcriptions"


def config(folder: Path) -> Config:
    return Config(server=ServerSection(spool_dir=str(folder)))


def ask(path: str = PATH, headers: Mapping[str, str] | None = None, **fields: str) -> bytes:
    return ask_with(fields, path, headers)


def ask_with(
    fields: Mapping[str, str], path: str = PATH, headers: Mapping[str, str] | None = None
) -> bytes:
    parts = [(named(name), value.encode()) for name, value in fields.items()]
    return post(path, multipart(a_file(), *parts), **(headers or {}))


async def submitted(folder: Path, request: bytes) -> tuple[Submitted, Answered]:
    """The job a request became, and the answer after it was told "ok"."""
    async with serving(config(folder)) as served:
        raw = await served.connect()
        await raw.send(request)
        job = await served.scheduler.next()
        assert len(os.listdir(folder)) == 1
        job.respond(b"ok")
        answered = await raw.reply()
        raw.close()
        assert len(os.listdir(folder)) == 1, "the file is the job's until the job is over"
        job.discard()
        assert os.listdir(folder) == []
    return job, answered


def asked(found: Submitted) -> TranscriptionRequest:
    """What the engine is asked for."""
    assert isinstance(found.job.request, TranscriptionRequest)
    return found.job.request


async def test_a56_a75_a_file_alone_is_enough(tmp_path: Path) -> None:
    found, answered = await submitted(tmp_path, ask(headers={"X_Request_ID": "rid.1"}))
    job = found.job
    assert (job.op, job.request_id, job.max_wait_s) == (Op.TRANSCRIBE, "rid.1", 0.0)
    assert job.route.model == "auto"
    assert job.request == TranscriptionRequest(path=asked(found).path)
    assert isinstance(job.wire, WholeWire)
    assert job.context == JobContext(client="127.0.0.1", bytes_in=9, format="json")
    assert answered.status == 200
    assert "preference-applied" not in answered.headers


async def test_what_the_form_says_reaches_the_engine(tmp_path: Path) -> None:
    request = ask(
        model="fake-small",
        language="de",
        prompt="Ziffern",
        temperature="0.2",
        hotwords="sieben",
        translate="True",
        segment_granularity="subtitle",
        chunking_strategy="auto",
        whatever="ignored",
    )
    found, _ = await submitted(tmp_path, request)
    heard = asked(found)
    assert heard == TranscriptionRequest(
        heard.path, "de", True, "Ziffern", 0.2, "sieben", granularity="subtitle", batched=True
    )


async def test_translations_translate(tmp_path: Path) -> None:
    found, _ = await submitted(tmp_path, ask("/v1/audio/translations"))
    assert asked(found).translate


@pytest.mark.parametrize(("stream", "batched"), [("false", True), ("true", False)])
async def test_batched_by_setting_but_for_streams(tmp_path: Path, stream: str, batched: bool) -> None:
    found, _ = await submitted(tmp_path, ask(stream=stream))
    asked = form(TranscriptionForm, {"stream": [stream], "file": [FilePart("a.wav", "a.wav", 1)]})
    chosen = Chosen(found.job.route, None, True)
    assert engine_request(asked, chosen, False, batch=True).batched is batched


@pytest.mark.parametrize(
    ("fields", "batched", "downgrade"),
    [
        ({"chunking_strategy": "auto"}, True, ""),
        ({"chunking_strategy": "auto", "stream": "true"}, False, ""),
        ({"stream": "true"}, False, ""),
        ({"model": "fake-whole", "stream": "true"}, False, "fake-whole"),
        ({"model": "fake-whole"}, False, ""),
    ],
)
async def test_a_stream_is_never_batched_and_downgraded_where_it_must(
    tmp_path: Path, fields: dict[str, Any], batched: bool, downgrade: str
) -> None:
    found, _ = await submitted(tmp_path, ask(**fields))
    assert (asked(found).batched, asked(found).downgrade) == (batched, downgrade)
    assert isinstance(found.job.wire, StreamWire) == (fields.get("stream") == "true")


async def test_prefer_wait_becomes_patience_and_is_confirmed(tmp_path: Path) -> None:
    found, answered = await submitted(tmp_path, ask(headers={"Prefer": "wait=1000"}))
    assert found.job.max_wait_s == 300.0
    assert answered.headers["preference-applied"] == "wait=300"


async def refused(folder: Path, request: bytes) -> Answered:
    async with serving(config(folder)) as served:
        answered = await served.say(request)
        assert served.scheduler.came.empty()
    assert os.listdir(folder) == []
    return answered


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": "xml"}, "response_format"),
        ({"response_format": "diarized_json"}, "response_format"),
        ({"translate": "perhaps"}, "translate"),
        ({"stream": "2"}, "stream"),
        ({"segment_granularity": "letter"}, "segment_granularity"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": "7"}, "temperature"),
    ],
)
async def test_a65_a100_a102_a_bad_field_is_400_and_leaves_no_file(
    tmp_path: Path, fields: dict[str, str], param: str
) -> None:
    answered = await refused(tmp_path, ask_with(fields))
    assert (answered.status, answered.error["code"]) == (400, "invalid_field")
    assert answered.error["param"] == param


async def test_a131_the_format_does_not_matter_to_a_stream(tmp_path: Path) -> None:
    found, _ = await submitted(tmp_path, ask(stream="true", response_format="bogus"))
    assert isinstance(found.job.wire, StreamWire)


async def test_a137_a_missing_file_is_an_ordinary_400_with_stream_too(tmp_path: Path) -> None:
    answered = await refused(tmp_path, post(PATH, multipart((named("stream"), b"true"))))
    assert (answered.status, answered.error["code"]) == (400, "missing_field")
    assert answered.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize("path", [PATH, "/v1/audio/translations"])
async def test_only_post_transcribes(tmp_path: Path, path: str) -> None:
    assert (await refused(tmp_path, get(path))).status == 405
    assert (await refused(tmp_path, post(path + "/", multipart(a_file())))).status == 404


async def stream(served: Served, request: bytes, *said: Any) -> Answered:
    """A streamed answer made of the job's own wire."""
    raw = await served.connect()
    await raw.send(request)
    found = await served.scheduler.next()
    wire = found.job.stream
    found.open(wire.head(None))
    for item in said:
        match item:
            case Transcript():
                frame = wire.tail(item)
            case Segment() | Notice():
                frame = wire.frame(item)
            case _:
                frame, _ = wire.fault(item)
        assert frame is not None
        found.replies.put_nowait(Emit(found.job.id, frame))
    found.close()
    answered = await raw.reply()
    raw.close()
    found.discard()
    return answered


def events(body: bytes) -> list[dict[str, Any]]:
    """The events of a stream whose frames are exactly one data line and one blank line each."""
    *frames, rest = body.split(b"\n\n")
    assert rest == b""
    assert all(frame.startswith(b"data: ") and b"\n" not in frame for frame in frames)
    return [json.loads(frame.removeprefix(b"data: ")) for frame in frames]


async def test_a118_a119_a122_a124_a138_a139_a_stream_of_events(tmp_path: Path) -> None:
    async with serving(config(tmp_path)) as served:
        answered = await stream(
            served,
            ask(stream="true"),
            Segment(0.0, 1.0, "Grüße,"),
            Segment(1.0, 2.0, "世界", lead=" "),
            Transcript("de", 2.0, "Grüße, 世界"),
        )
    assert answered.headers["content-type"] == "text/event-stream"
    told = events(answered.body)
    assert [event["type"] for event in told] == [
        "transcript.text.delta",
        "transcript.text.delta",
        "transcript.text.done",
    ]
    assert "".join(event["delta"] for event in told[:-1]) == told[-1]["text"] == "Grüße, 世界"
    assert told[1]["segment"] == {"start": 1.0, "end": 2.0, "text": "世界", "words": []}
    assert "世界".encode() in answered.body


async def test_a133_a134_a_failure_in_a_stream_is_its_last_event(tmp_path: Path) -> None:
    async with serving(config(tmp_path)) as served:
        answered = await stream(served, ask(stream="true"), Segment(0.0, 1.0, "one"), internal())
    told = events(answered.body)
    assert answered.complete
    assert [event["type"] for event in told] == ["transcript.text.delta", "error"]
    assert told[-1]["error"]["kind"] == told[-1]["kind"] == "unknown"


async def test_a_stream_is_kept_alive_while_the_model_loads(tmp_path: Path) -> None:
    settings = Config(
        server=ServerSection(spool_dir=str(tmp_path)), slots=SlotsSection(heartbeat_s=0.05)
    )
    async with serving(settings) as served:
        raw = await served.connect()
        await raw.send(ask(stream="true"))
        found = await served.scheduler.next()
        found.open(found.job.stream.head(None))
        await raw.reader.readuntil(b": ping\n\n")
        found.abort()
        assert await raw.reader.read() == b"\r\n", "the rest of that comment's chunk, and no last one"
        raw.close()
        found.discard()
