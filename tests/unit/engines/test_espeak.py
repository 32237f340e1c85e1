"""The embedded voice on its real library: six formats, speed, voices, first block, cancel."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import threading
from collections.abc import AsyncIterator
from itertools import combinations
from typing import Any

import av
import numpy as np
import pytest

from aistack.chunks import ModelSpec, Piece, SynthesisRequest, Tail, Vram, from_frame, to_frame
from aistack.contract.speech import FORMATS, OPENAI_VOICES, embedded_answers, speak_request
from aistack.engines.espeak import Espeak, Library, blocks
from aistack.errors import BackendFault, ErrorKind, internal
from aistack.ids import job_id
from aistack.jobs import Job, Op, Route, Slot, Snapshot
from aistack.jobs import events as ev
from aistack.jobs.effects import Emit, OpenStream
from aistack.run.process import EngineSettings
from aistack.run.runner import Runner
from aistack.run.scheduler import Scheduler
from aistack.wire.speech import SpeechWire
from tests.support.engine_processes import serving
from tests.unit.relays.conftest import BOUND_S, Reply, read

TEXT = "Three one four one five nine. This is a sentence, spoken by a machine."
LONG = "This sentence is here to make the answer long. " * 80


@pytest.fixture(scope="module")
def engine() -> Espeak:
    engine = Espeak()
    engine.warm()
    engine.load(ModelSpec("espeak-ng", ""), lambda progress: None)
    return engine


def said(engine: Espeak, request: SynthesisRequest) -> bytes:
    run = engine.run(request, threading.Event())
    data = b""
    while True:
        try:
            item = next(run)
        except StopIteration as stop:
            return data + bytes(stop.value.data)
        if isinstance(item, Piece):
            data += item.data


def seconds(kind: str, data: bytes) -> float:
    """The length of the sound, by decoding it."""
    if kind == "pcm":
        return len(data) / 2 / 24000
    with av.open(io.BytesIO(data), "r") as sound:
        stream = sound.streams.audio[0]
        assert stream.rate == (48000 if kind == "opus" else 24000)
        assert stream.layout.nb_channels == 1
        return sum(frame.samples for frame in sound.decode(stream)) / stream.rate


def apart(one: bytes, other: bytes) -> float:
    """How far two voices are from each other: the distance of their mean spectra (log scale).

    The library varies its phases from run to run, so samples cannot be compared; the same voice is
    within 0.15 of itself.
    """
    spectra = []
    for sound in (one, other):
        samples = np.frombuffer(sound, np.int16).astype(float)
        frames = samples[: len(samples) // 1024 * 1024].reshape(-1, 1024) * np.hanning(1024)
        mean = np.abs(np.fft.rfft(frames, axis=1)).mean(0)
        spectra.append(np.log(mean[:256].reshape(-1, 2).mean(1) + 1))
    return float(np.sqrt(((spectra[0] - spectra[1]) ** 2).mean()))


SAME = 0.2


@pytest.mark.parametrize("kind", FORMATS)
def test_all_six_formats_are_what_they_say(engine: Espeak, kind: str) -> None:
    data = said(engine, SynthesisRequest(TEXT, "alloy", format=kind))
    whole = seconds("pcm", said(engine, SynthesisRequest(TEXT, "alloy", format="pcm")))
    assert 3 < whole < 8
    assert seconds(kind, data) == pytest.approx(whole, abs=0.2)
    magic = {"wav": b"RIFF", "flac": b"fLaC", "opus": b"OggS"}
    assert data.startswith(magic.get(kind, b""))


@pytest.mark.parametrize("speed", [0.25, 0.5, 1.5, 4.0])
def test_speed_is_what_was_asked(engine: Espeak, speed: float) -> None:
    plain = seconds("pcm", said(engine, SynthesisRequest(LONG[:400], "alloy", format="pcm")))
    paced = seconds("pcm", said(engine, SynthesisRequest(LONG[:400], "alloy", speed, "pcm")))
    assert plain / paced == pytest.approx(speed, rel=0.15)


def test_every_openai_voice_is_there_and_no_two_are_alike(engine: Espeak) -> None:
    sounds = {
        voice: said(engine, SynthesisRequest(TEXT, voice, format="pcm")) for voice in OPENAI_VOICES
    }
    assert len(OPENAI_VOICES) == 13
    for one, other in combinations(OPENAI_VOICES, 2):
        assert apart(sounds[one], sounds[other]) > SAME, (one, other)
    for voice in ("ALLOY", "alloy"):
        again = said(engine, SynthesisRequest(TEXT, voice, format="pcm"))
        assert apart(again, sounds["alloy"]) < SAME


def test_languages_and_the_librarys_own_voices(engine: Espeak) -> None:
    english = said(engine, SynthesisRequest(TEXT, "alloy", format="pcm"))
    german = said(engine, SynthesisRequest(TEXT, "alloy", format="pcm", language="de"))
    own = said(engine, SynthesisRequest(TEXT, "de+f2", format="pcm"))
    assert apart(german, own) < SAME < apart(english, german)


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (SynthesisRequest("x", "nobody"), "voice"),
        (SynthesisRequest("x", "alloy", language="xx"), "language"),
    ],
)
def test_an_unknown_voice_is_malformed(engine: Espeak, request_: SynthesisRequest, param: str) -> None:
    with pytest.raises(BackendFault) as caught:
        next(engine.run(request_, threading.Event()))
    assert (caught.value.fault.kind, caught.value.fault.param) == (ErrorKind.MALFORMED, param)


@pytest.mark.parametrize("text", ["...", "\0", "🙂", "你好", "<speak>a</speak>", "\ud800", " \n "])
def test_odd_texts_do_no_harm(engine: Espeak, text: str) -> None:
    for kind in ("wav", "mp3", "pcm"):
        said(engine, SynthesisRequest(text, "alloy", format=kind))


def test_a_cancel_stops_within_a_block_and_the_next_run_works(engine: Espeak) -> None:
    cancel = threading.Event()
    run = engine.run(SynthesisRequest(LONG, "alloy", format="pcm"), cancel)
    while not isinstance(next(run), Piece):
        pass
    cancel.set()
    after = sum(isinstance(item, Piece) for item in run)
    assert after <= 1
    assert not [thread for thread in threading.enumerate() if thread.name == "espeak"]
    assert said(engine, SynthesisRequest(TEXT, "alloy", format="pcm"))


def test_the_library_stops_speaking_when_nobody_takes(engine: Espeak) -> None:
    taken: list[bytes] = []
    assert engine._library is not None and engine._library.choose("en-us")
    engine._library.say(LONG, 175, lambda samples: taken.append(samples))
    assert len(taken) == 1, "one block, refused, and the rest is not even synthesised"


def test_a_run_that_is_closed_leaves_no_thread(engine: Espeak) -> None:
    run = engine.run(SynthesisRequest(LONG, "alloy", format="pcm"), threading.Event())
    while not isinstance(next(run), Piece):
        pass
    run.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "espeak"]


def test_what_the_library_refuses_is_raised(engine: Espeak, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Library, *rest: Any) -> None:
        raise OSError("espeak_Synth: 1")

    monkeypatch.setattr(Library, "say", refuse)
    assert engine._library is not None
    with pytest.raises(OSError, match="espeak_Synth"):
        list(blocks(engine._library, "x", 175, threading.Event()))


# --- the request -----


def test_a_plain_body_is_openais() -> None:
    assert speak_request(b'{"input": "Hi", "model": "tts-1"}') == SynthesisRequest(
        "Hi", "alloy", 1.0, "mp3"
    )
    body = {"input": "Hi", "voice": {"id": "nova"}, "speed": 2, "response_format": "wav", "x": 1}
    assert speak_request(json.dumps(body | {"language": "German"}).encode()) == SynthesisRequest(
        "Hi", "nova", 2.0, "wav", "de"
    )
    assert speak_request(json.dumps(body | {"language": "Auto"}).encode()).language is None
    nulls = dict.fromkeys(("voice", "speed", "response_format", "language"))
    for voice in (None, {"id": None}):
        plain = speak_request(json.dumps({"input": "Hi"} | nulls | {"voice": voice}).encode())
        assert plain == SynthesisRequest("Hi", "alloy", 1.0, "mp3")


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"[]", "invalid_body", None),
        (b"nope", "invalid_body", None),
        (b"{}", "missing_field", "input"),
        (b'{"input": 5}', "invalid_field", "input"),
        (b'{"input": " "}', "invalid_field", "input"),
        (json.dumps({"input": "x" * 4097}).encode(), "invalid_field", "input"),
        (b'{"input": "x", "voice": 5}', "invalid_field", "voice"),
        (b'{"input": "x", "speed": 5}', "invalid_field", "speed"),
        (b'{"input": "x", "speed": true}', "invalid_field", "speed"),
        (b'{"input": "x", "speed": NaN}', "invalid_field", "speed"),
        (b'{"input": "x", "speed": -Infinity}', "invalid_field", "speed"),
        (b'{"input": "x", "speed": 1' + b"0" * 400 + b"}", "invalid_field", "speed"),
        (b'{"input": "x", "speed": 1%s}' % (b"0" * 400), "invalid_field", "speed"),
        (b'{"input": "x", "response_format": "midi"}', "invalid_field", "response_format"),
        (b'{"input": "x", "response_format": []}', "invalid_field", "response_format"),
    ],
)
def test_bad_bodies_are_malformed(body: bytes, code: str, param: str | None) -> None:
    with pytest.raises(BackendFault) as caught:
        speak_request(body)
    fault = caught.value.fault
    assert (fault.status, fault.code.value, fault.param) == (400, code, param)


def test_who_answers() -> None:
    assert embedded_answers("espeak-ng", True) and embedded_answers("espeak-ng", False)
    assert embedded_answers("tts-1", False) and not embedded_answers("tts-1", True)
    for model in ("qwen3-tts-12hz-0.6b-customvoice", "other", ""):
        assert not embedded_answers(model, False)


# --- the wire -----


def test_the_wire_is_known_from_the_start_and_cuts_on_a_failure() -> None:
    wire = SpeechWire("opus")
    assert wire.head(None) == wire.head(Piece(b"x"))
    head = wire.head(None)
    assert (head.status, head.content_type, head.sse, head.length) == (200, "audio/ogg", False, None)
    assert (wire.frame(Piece(b"x")), wire.tail(Tail(b"y")), wire.tail(Tail())) == (b"x", b"y", None)
    assert wire.fault(internal()) == (None, False)


# --- frames -----


@pytest.mark.parametrize(
    "value",
    [
        Piece(bytes(range(256))),
        Tail(b"\x00\xff"),
        Tail(),
        SynthesisRequest("ä", "alloy", 1.5, "wav", "de"),
    ],
)
def test_bytes_and_requests_cross_the_pipe(value: Any) -> None:
    assert from_frame(json.loads(json.dumps(to_frame(value)))) == value


# --- through the machine, in its child -----


class Speaker:
    def __init__(self) -> None:
        self.done: list[str] = []
        self.scheduler = Scheduler(Snapshot((Slot("cpu"),)), [self._note])
        settings = EngineSettings(
            "espeak", "aistack.engines.espeak:Espeak", "eSpeak NG", sys.executable, 5.0, 30, 30, 0
        )
        self.runner = Runner(
            self.scheduler.post,
            self.scheduler.ready,
            lambda resident, device: ModelSpec(resident.model, "", device),
            {"espeak": settings},
        )
        self.scheduler.steps = self.runner
        self.task = asyncio.get_running_loop().create_task(self.scheduler.run())

    def _note(self, transition: Any) -> None:
        if transition.target.value == "done":
            self.done.append(transition.job.outcome.kind.value)

    def job(self, request: SynthesisRequest) -> Job:
        route = Route("espeak", "espeak-ng", Vram.OWN)
        return Job(
            id=job_id(),
            request_id="r",
            op=Op.SPEAK,
            route=route,
            request=request,
            wire=SpeechWire(request.format),
        )

    async def ask(self, request: SynthesisRequest) -> Reply:
        outlet = self.scheduler.submit(self.job(request))
        return read(await asyncio.wait_for(outlet.collect(), BOUND_S))


@pytest.fixture
async def speaker() -> AsyncIterator[Speaker]:
    speaker = Speaker()
    yield speaker
    await asyncio.wait_for(speaker.runner.close(), BOUND_S)
    speaker.task.cancel()
    await asyncio.gather(speaker.task, return_exceptions=True)


async def test_speech_without_a_container(speaker: Speaker, engine: Espeak) -> None:
    for kind in ("pcm", "mp3"):
        reply = await speaker.ask(SynthesisRequest(TEXT, "nova", 1.0, kind))
        assert (reply.status, reply.cut) == (200, False)
        assert reply.headers["content-type"] == FORMATS[kind]
        here = said(engine, SynthesisRequest(TEXT, "nova", 1.0, kind))
        assert seconds(kind, reply.body) == pytest.approx(seconds(kind, here), abs=0.05)
        if kind == "pcm":
            assert apart(reply.body, here) < SAME
        assert len(reply.frames) > 10, "block by block"
    reply = await speaker.ask(SynthesisRequest(TEXT, "nobody"))
    assert (reply.status, reply.error["provider"]) == (400, "aistack")
    assert speaker.done == ["ok", "ok", "failed"]


async def test_leaving_stops_the_voice_and_keeps_its_process(speaker: Speaker) -> None:
    job = speaker.job(SynthesisRequest(LONG, "alloy", 0.25, "mp3"))
    outlet = speaker.scheduler.submit(job)
    assert isinstance(await asyncio.wait_for(outlet.get(), BOUND_S), OpenStream)
    assert isinstance(await asyncio.wait_for(outlet.get(), BOUND_S), Emit)
    process = serving(speaker.runner, "cpu")
    speaker.scheduler.post(ev.ClientGone(job.id))
    await asyncio.wait_for(speaker.scheduler.quiet(), BOUND_S)
    assert speaker.done == ["cancelled"]
    assert serving(speaker.runner, "cpu") is process and not process.died.is_set()
    assert (await speaker.ask(SynthesisRequest(TEXT, "alloy"))).status == 200
