"""Speech and everything else below /v1/audio/ through the real machine: transparent, and released."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from aistack.chunks import Vram
from aistack.contract.relay_request import relay_request
from aistack.errors import BackendFault
from aistack.jobs.effects import CloseStream, Emit, OpenStream
from tests.doubles.vllm_omni import VllmOmni, tone, wav_header
from tests.unit.relays.conftest import BOUND_S, World

SPEECH = "/v1/audio/speech"
TEXT = "one two three four"


def body(**members: Any) -> bytes:
    return json.dumps({"input": TEXT} | members).encode()


def speech(
    world: World, data: bytes | str, path_qs: str = SPEECH, kind: str = "application/json"
) -> Any:
    return world.speak(relay_request("POST", path_qs, data, kind, "application/octet-stream"))


async def test_a159_a162_bytes_type_and_length_are_the_upstreams(world: World, omni: VllmOmni) -> None:
    reply = await world.ask(speech(world, body()))
    samples = b"".join(tone(TEXT))
    assert reply.status == 200 and not reply.cut
    assert reply.body == wav_header(len(samples)) + samples
    assert reply.headers["content-type"] == "audio/wav"
    assert reply.headers["x-vllm-omni-output-tokens"] == "42"
    assert reply.length == len(reply.body)


@pytest.mark.parametrize("kind", ["mp3", "opus", "flac", "pcm", "wav"])
async def test_a162_every_format_passes(world: World, kind: str) -> None:
    reply = await world.ask(speech(world, body(response_format=kind)))
    assert reply.status == 200 and len(reply.body) > 1000


async def test_a160_a172_extension_fields_and_bytes_go_up_untouched(
    world: World, omni: VllmOmni
) -> None:
    data = (
        b'{ "input":"\\u00e4 \xc3\xa4", "voice" : "Vivian","instructions":"slow",  "x_vector":[1.0,2e3],'
        b'"ref_text":null}'
    )
    omni.checkpoint = "CustomVoice"
    reply = await world.ask(speech(world, data))
    assert reply.status == 200
    assert omni.called(SPEECH)[-1].body == data


@pytest.mark.parametrize("data", [b"", b"not json", b"[1, 2]", b"\xff\x00", b'"text"'])
async def test_a172_what_is_not_json_goes_up_too(world: World, omni: VllmOmni, data: bytes) -> None:
    for kind in ("application/json", "text/plain", ""):
        reply = await world.ask(speech(world, data, kind=kind))
        assert reply.status == 400 and reply.error["code"] == "upstream_rejected"
        assert omni.called(SPEECH)[-1].body == data


async def test_a161_only_content_type_and_accept_go_up(world: World, omni: VllmOmni) -> None:
    await world.ask(speech(world, body()))
    headers = omni.called(SPEECH)[-1].headers
    names = {name.lower() for name in headers}
    assert names == {"host", "content-type", "content-length", "accept", "accept-encoding"}
    assert headers["Accept"] == "application/octet-stream"


async def test_a163_path_and_query_go_up_as_they_came(world: World, omni: VllmOmni) -> None:
    await world.ask(speech(world, body(), SPEECH + "?a=%2Fb&c=d%20e+f&a="))
    assert omni.called(SPEECH)[-1].path == SPEECH + "?a=%2Fb&c=d%20e+f&a="


@pytest.mark.parametrize(
    "path",
    [
        "/v1/audio/../models",
        "/v1/audio/%2e%2e/models",
        "/v1/audio/%2E./%2e%2e/sleep",
        "/v1/audio/..%2f..%2fsleep",
        "/v1/audio/..\\sleep",
        "/v1/audio/x%00",
        "/sleep",
        "http://elsewhere/v1/audio/speech",
    ],
)
def test_nothing_outside_can_be_reached(path: str) -> None:
    with pytest.raises(BackendFault) as caught:
        relay_request("POST", path)
    assert caught.value.fault.status == 404


@pytest.mark.parametrize(
    ("method", "path", "takes"),
    [
        ("POST", "/v1/audio/speech", True),
        ("POST", "/v1/audio/speech/batch?x=1", True),
        ("POST", "/v1/audio/generate", True),
        ("POST", "/v1/audio/voices", False),
        ("POST", "/v1/audio/voices/vivian", False),
        ("POST", "/v1/audio/voicesque", True),
        ("GET", "/v1/audio/voices", False),
        ("DELETE", "/v1/audio/voices/x", False),
    ],
)
def test_which_calls_take_the_slot(method: str, path: str, takes: bool) -> None:
    assert relay_request(method, path).takes_slot is takes


async def test_a164_voices_are_uploaded_listed_and_deleted(world: World, omni: VllmOmni) -> None:
    form = (
        b'--b\r\ncontent-disposition: form-data; name="name"\r\n\r\nme\r\n'
        b'--b\r\ncontent-disposition: form-data; name="audio_sample"; filename="a.wav"\r\n'
        b"content-type: audio/wav\r\n\r\nRIFF\x00\xff\r\n--b--\r\n"
    )
    voices = "/v1/audio/voices"

    async def ask(method: str, path: str, data: bytes | None = None, kind: str = "") -> Any:
        return await world.ask(world.speak(relay_request(method, path, data, kind)))

    reply = await ask("POST", voices, form, "multipart/form-data; boundary=b")
    assert json.loads(reply.body)["voice"]["file_size"] == 6
    assert omni.called(voices)[-1].body == form
    assert "me" in json.loads((await ask("GET", voices)).body)["voices"]
    assert json.loads((await ask("DELETE", voices + "/me")).body)["success"] is True
    reply = await ask("DELETE", voices + "/me")
    assert (reply.status, reply.error["message"]) == (400, "Voice 'me' not found")


async def test_a164_batch(world: World, omni: VllmOmni) -> None:
    data = json.dumps({"items": [{"input": "a"}, {"input": "b", "voice": "nobody"}]}).encode()
    reply = await world.ask(speech(world, data, SPEECH + "/batch"))
    assert (json.loads(reply.body)["succeeded"], json.loads(reply.body)["failed"]) == (1, 1)
    assert omni.called(SPEECH + "/batch")[-1].body == data


async def test_a_spooled_body_goes_up_from_its_file(
    world: World, omni: VllmOmni, tmp_path: Path
) -> None:
    data = body(voice="vivian", instructions="x" * 5_000_000)
    spool = tmp_path / "spool"
    spool.write_bytes(data)
    reply = await world.ask(speech(world, str(spool)))
    assert reply.status == 200
    call = omni.called(SPEECH)[-1]
    assert call.body == data and call.headers["Content-Length"] == str(len(data))
    spool.write_bytes(body(voice="alloy", instructions="x" * 5_000_000))
    assert (await world.ask(speech(world, str(spool)))).status == 200
    assert omni.called(SPEECH)[-1].json["voice"] == "aiden"


# --- streams -----


@pytest.mark.parametrize("version", [(0, 18), (0, 30)])
async def test_a165_audio_comes_before_it_is_all_there(
    world: World, omni: VllmOmni, version: tuple[int, int]
) -> None:
    omni.version = version
    omni.gate.clear()
    outlet = world.scheduler.submit(speech(world, body(stream=True, response_format="pcm")))
    first = await asyncio.wait_for(outlet.get(), BOUND_S)
    assert isinstance(first, OpenStream)
    piece = await asyncio.wait_for(outlet.get(), BOUND_S)
    assert isinstance(piece, Emit) and piece.frame
    assert omni.called(SPEECH)[0].ended == ""
    omni.gate.set()
    rest = await asyncio.wait_for(outlet.collect(), BOUND_S)
    whole = piece.frame + b"".join(said.frame for said in rest if isinstance(said, Emit))
    if version == (0, 18):
        assert whole == b"".join(tone(TEXT))
        assert first.head.content_type == "audio/pcm"
    else:
        assert whole.count(b"event: speech.audio.delta\n") == 4
        last = rest[-2]
        assert isinstance(last, Emit) and b"speech.audio.done" in last.frame
        assert first.head.content_type == "text/event-stream"
    assert isinstance(rest[-1], CloseStream) and world.free


async def test_a_streamed_wav_is_the_upstreams(world: World) -> None:
    reply = await world.ask(speech(world, body(stream=True, stream_format="audio")))
    assert reply.body == wav_header() + b"".join(tone(TEXT)) and reply.length is None


async def test_tail_rule_for_speech(world: World, omni: VllmOmni) -> None:
    """Clients that leave with the last byte they were promised are recorded as served."""
    for stream in (False, True) * 20:
        members = {"stream": True, "response_format": "pcm"} if stream else {}
        job = speech(world, body(**members))
        outlet = world.scheduler.submit(job)
        opened = await outlet.get()  # at once: wait_for would look a moment later
        assert isinstance(opened, OpenStream)
        data = b""
        while b"speech.audio.done" not in data and len(data) != opened.head.length:
            said = await outlet.get()  # at once: wait_for would look a moment later
            assert isinstance(said, Emit)
            data += said.frame
        assert world.free, "the end was seen before the slot was free"
        world.leave(job)
    await world.quiet()
    assert {one.job.outcome.kind.value for one in world.done if one.job.outcome} == {"ok"}


async def test_a_stream_of_events_without_its_end_is_cut(world: World, omni: VllmOmni) -> None:
    omni.fail(SPEECH, "end")
    reply = await world.ask(speech(world, body(stream=True)))
    assert reply.status == 200
    omni.heal()
    real = omni.half_answer
    omni.half_answer = lambda request: (  # type: ignore[method-assign]
        "text/event-stream",
        b'event: speech.audio.delta\ndata: {"type": "speech.audio.delta"}\n\n',
    )
    omni.fail(SPEECH, "end")
    reply = await world.ask(speech(world, body(stream=True)))
    assert reply.cut and b"speech.audio.delta" in reply.body and b"error" not in reply.body
    omni.half_answer = real  # type: ignore[method-assign]


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
async def test_a174_encoded_bytes_stay_as_they_are(world: World, omni: VllmOmni, coding: str) -> None:
    packed = gzip.compress(b"".join(tone(TEXT)), mtime=0)
    omni.encoding = coding
    omni.encoded = lambda kind, samples: packed  # type: ignore[method-assign]
    reply = await world.ask(speech(world, body()))
    assert reply.body == packed
    assert reply.headers["content-encoding"] == coding


@pytest.mark.parametrize("members", [{}, {"stream": True, "response_format": "pcm"}])
async def test_a170_leaving_closes_the_upstream_and_frees_the_slot(
    world: World, omni: VllmOmni, members: dict[str, Any]
) -> None:
    omni.gate.clear()
    job = speech(world, body(**members))
    world.scheduler.submit(job)
    await omni.until(lambda: bool(omni.called(SPEECH)))
    world.leave(job)
    await world.quiet()
    assert world.free and world.outcome == "cancelled"
    await omni.until(lambda: omni.called(SPEECH)[0].ended == "cut")
    omni.gate.set()
    assert (await world.ask(speech(world, body()))).status == 200


async def test_a144_a146_a_busy_slot_refuses_and_is_refused(world: World, omni: VllmOmni) -> None:
    omni.gate.clear()
    world.scheduler.submit(speech(world, body()))
    await omni.until(lambda: bool(omni.called(SPEECH)))
    for job in (world.chat(), world.speech(), world.transcribe()):
        reply = await world.ask(job)
        assert (reply.status, reply.error["holder"]["op"]) == (503, "speak")
    assert len(omni.called(SPEECH)) == 1
    omni.gate.set()
    await world.quiet()


# --- inventory, memory -----


async def test_a47_a48_listed_only_while_healthy(world: World, omni: VllmOmni) -> None:
    (card,) = await world.tts.models()
    assert (card.id, card.owned_by, card.capability) == (
        "qwen3-tts-12hz-0.6b-customvoice",
        "qwen",
        "tts",
    )
    omni.healthy = False
    assert await world.tts.models() == ()
    await omni.stop()
    assert await world.tts.models() == ()


async def test_a_container_that_cannot_sleep_is_left_alone(world: World, omni: VllmOmni) -> None:
    assert (await world.ask(world.transcribe())).status == 200
    assert not omni.called("/sleep") and world.tts.vram is Vram.RESERVED
    assert (await world.ask(speech(world, body()))).status == 200
    assert world.runner.processes(), "a fixed share needs nothing of ours to move"


async def test_a_container_that_can_sleep_sleeps_and_is_woken(world: World, omni: VllmOmni) -> None:
    omni.can_sleep = True
    assert (await world.ask(speech(world, body()))).status == 200
    assert (await world.ask(world.transcribe())).status == 200
    assert (omni.sleeping, world.tts.vram) == (True, Vram.EXTERNAL)
    assert (await world.ask(speech(world, body()))).status == 200
    assert not omni.sleeping
    assert not world.runner.processes(), "its memory comes back: ours had to go"


async def test_sleep_never_raises(world: World, omni: VllmOmni) -> None:
    omni.can_sleep = True
    for path in ("/is_sleeping", "/sleep"):
        for how in ({"do": "status"}, {"do": "garbage"}, {"do": "reset"}):
            omni.fail(path, **how)
            await world.tts.evict()
            omni.heal()
    await omni.stop()
    await world.tts.evict()
