"""The table of failures, cell by cell: what the client gets, that the slot is free, that the next
call works. Before the first byte a failure is a status; after it, an event and a cut, or a cut."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest

from aistack.relays.ollama import Ollama
from aistack.relays.qwen_tts import QwenTts
from tests.doubles.ollama import Ollama as OllamaDouble
from tests.doubles.vllm_omni import VllmOmni
from tests.unit.relays.conftest import Reply, World

pytestmark = pytest.mark.both_loops

KINDS = ("chat whole", "chat stream", "speech")
PATHS = {"chat whole": "/v1/chat/completions", "chat stream": "/v1/chat/completions"}
SPEECH = "/v1/audio/speech"

BEFORE: dict[str, tuple[dict[str, Any], int, str, str]] = {
    # bad day: how it is set, status, kind, code
    "reset before headers": ({"do": "reset"}, 503, "network", "backend_unreachable"),
    "end before headers": ({"do": "close"}, 503, "network", "backend_unreachable"),
    "garbage": ({"do": "garbage"}, 500, "unknown", "upstream_error"),
    "400": ({"do": "status", "status": 400}, 400, "malformed", "upstream_rejected"),
    "404": ({"do": "status", "status": 404}, 400, "malformed", "upstream_rejected"),
    "413": ({"do": "status", "status": 413}, 413, "overflow", "too_large"),
    "429": ({"do": "status", "status": 429}, 503, "network", "upstream_busy"),
    "500": ({"do": "status", "status": 500}, 500, "unknown", "upstream_error"),
    "502": ({"do": "status", "status": 502}, 500, "unknown", "upstream_error"),
    "503": ({"do": "status", "status": 503}, 503, "network", "upstream_busy"),
    "504": ({"do": "status", "status": 504}, 500, "unknown", "upstream_error"),
    "307": (
        {"do": "status", "status": 307, "headers": {"Location": "/elsewhere"}},
        500,
        "unknown",
        "upstream_error",
    ),
    "read stall before headers": ({"do": "hang"}, 503, "network", "upstream_timeout"),
}

AFTER: dict[str, tuple[str, str]] = {
    # bad day after the headers: how, code in the event of a chat stream
    "reset mid-body": ("cut", "upstream_error"),
    "read stall mid-body": ("stall", "upstream_timeout"),
}


@pytest.fixture
def limits() -> dict[str, Any]:
    return {"connect_s": 0.5, "read_s": 1.0}


def double_of(kind: str, ollama: OllamaDouble, omni: VllmOmni) -> tuple[Any, str]:
    return (omni, SPEECH) if kind == "speech" else (ollama, PATHS[kind])


async def next_call_works(world: World, kind: str, double: Any) -> None:
    await world.quiet()
    assert world.free
    double.heal()
    reply = await world.ask(world.job(kind))
    assert reply.status == 200 and not reply.cut


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("day", BEFORE)
async def test_a152_a_failure_before_the_first_byte_is_a_status(
    world: World, ollama: OllamaDouble, omni: VllmOmni, kind: str, day: str
) -> None:
    how, status, error_kind, code = BEFORE[day]
    double, path = double_of(kind, ollama, omni)
    double.fail(path, **how)
    reply = await world.ask(world.job(kind))
    assert (reply.status, reply.error["kind"], reply.error["code"]) == (status, error_kind, code)
    assert reply.error["provider"] == ("Qwen3-TTS" if kind == "speech" else "ollama")
    assert ("retry-after" in reply.headers) == (code == "upstream_busy")
    if how["do"] == "status":
        assert reply.error["message"] == "made up"
        assert reply.error["upstream"]["status"] == how["status"]
    await next_call_works(world, kind, double)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("day", AFTER)
async def test_a133_a_failure_after_the_first_byte_is_never_a_clean_end(
    world: World, ollama: OllamaDouble, omni: VllmOmni, kind: str, day: str
) -> None:
    how, code = AFTER[day]
    double, path = double_of(kind, ollama, omni)
    double.fail(path, how)
    reply = await world.ask(world.job(kind))
    assert reply.status == 200 and reply.cut
    if kind == "chat stream":
        *relayed, last = [line for line in reply.body.split(b"\n\n") if line]
        assert all(json.loads(event[6:])["choices"] for event in relayed)
        error = json.loads(last.removeprefix(b"data: "))["error"]
        assert (error["code"], error["provider"]) == (code, "ollama")
        assert isinstance(error["message"], str)
        assert b"[DONE]" not in reply.body
    assert world.outcome == "failed"
    await next_call_works(world, kind, double)


@pytest.mark.parametrize("kind", KINDS)
async def test_a167_a183_refused_is_a_503_with_a_hint_and_without_retry_after(
    world: World, ollama: OllamaDouble, omni: VllmOmni, kind: str
) -> None:
    double, _ = double_of(kind, ollama, omni)
    port = double.port
    await double.stop()
    reply = await world.ask(world.job(kind))
    assert (reply.status, reply.error["code"]) == (503, "backend_unreachable")
    assert f":{port}" in reply.error["message"] and "Start" in reply.error["message"]
    assert "retry-after" not in reply.headers
    assert reply.headers["x-should-retry"] == "false"
    await double.start(port)
    await next_call_works(world, kind, double)


@pytest.fixture
async def deaf() -> AsyncIterator[int]:
    """A port whose line of unaccepted connections is full: a further connect gets no answer."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
        fillers.append(filler)
    await asyncio.sleep(0)
    yield listener.getsockname()[1]
    for one in (*fillers, listener):
        one.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_connect_timeout_is_backend_unreachable(world: World, deaf: int, kind: str) -> None:
    relay: Ollama | QwenTts = world.tts if kind == "speech" else world.ollama
    before = relay.upstream.settings
    relay.upstream.settings = attrs.evolve(before, url=f"http://127.0.0.1:{deaf}")
    reply = await world.ask(world.job(kind))
    assert (reply.status, reply.error["code"]) == (503, "backend_unreachable")
    await world.quiet()
    assert world.free
    relay.upstream.settings = before
    assert (await world.ask(world.job(kind))).status == 200


@pytest.mark.parametrize("kind", KINDS)
async def test_a169_a_slow_start_is_waited_for(
    world: World, ollama: OllamaDouble, omni: VllmOmni, kind: str
) -> None:
    """Longer than the machine waits before it sends headers of its own streams: a relay has none
    to send before its upstream's."""
    double, path = double_of(kind, ollama, omni)
    double.fail(path, "slow", seconds=0.35)
    reply = await world.ask(world.job(kind))
    assert reply.status == 200 and not reply.cut
    double.heal()
    double.fail(path, "slow", seconds=0.3, times=1)
    double.fail(path, "status", status=500)
    assert (await world.ask(world.job(kind))).status == 200
    assert (await world.ask(world.job(kind))).status == 500
    await next_call_works(world, kind, double)


async def test_an_error_after_a_slow_start_is_still_a_status(world: World, ollama: OllamaDouble) -> None:
    """OpenDue (0.2 s here) must not open a stream whose status is not known."""
    reply_task = asyncio.create_task(world.ask(world.chat(stream=True)))
    ollama.fail("/v1/chat/completions", "hang")
    reply = await reply_task
    assert (reply.status, reply.error["code"]) == (503, "upstream_timeout")


async def test_a166_a184_upstream_members_are_kept_beside_ours(
    world: World, ollama: OllamaDouble, omni: VllmOmni
) -> None:
    reply = await world.ask(world.chat(model="nobody", keep_alive=None))
    error = reply.error
    assert (reply.status, error["kind"], error["code"]) == (400, "malformed", "model_not_found")
    assert 'model "nobody" not found' in error["message"]
    assert error["upstream"] == {"status": 404, "type": "not_found_error"}
    reply = await world.ask(world.speech(voice="nobody"))
    assert (reply.status, reply.error["code"]) == (400, "upstream_rejected")
    assert reply.error["upstream"] == {"status": 400, "type": "BadRequestError", "code": 400}
    omni.fail(SPEECH, "status", status=400, body='{"error": {"message": "m", "hint": "h", "kind": "k"}}')
    reply = await world.ask(world.speech())
    assert reply.error["hint"] == "h" and reply.error["kind"] == "malformed"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"error": "plain words"}', "plain words"),
        ('{"detail": [{"loc": ["body"]}]}', "ollama answered with status 418."),
        ('{"detail": "Not Found"}', "Not Found"),
        ("<html>oops</html>", "ollama answered with status 418."),
        ("[1]", "ollama answered with status 418."),
        ('{"error": {"message": 5}}', "ollama answered with status 418."),
        ("", "ollama answered with status 418."),
    ],
)
async def test_error_bodies_of_any_shape(
    world: World, ollama: OllamaDouble, body: str, message: str
) -> None:
    ollama.fail("/v1/chat/completions", "status", status=418, body=body)
    reply: Reply = await world.ask(world.chat())
    assert (reply.status, reply.error["message"]) == (400, message)


async def test_a_connection_closed_while_idle_costs_nothing(world: World, ollama: OllamaDouble) -> None:
    """The first call of a chat is one that may be made twice."""
    ollama.fail("/api/generate", "reset", times=1)
    assert (await world.ask(world.chat())).status == 200
    assert len(ollama.called("/api/generate")) == 2
    assert len(ollama.called("/v1/chat/completions")) == 1
