"""A real scheduler and runner with the real relays, and the doubles behind them; no HTTP front."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from aistack.chunks import ModelSpec, TranscriptionRequest, Vram
from aistack.contract.relay_request import RelayRequest, relay_request, relayed_chat
from aistack.ids import job_id
from aistack.jobs import Job, Limits, Op, Route, Slot, Snapshot, Transition
from aistack.jobs import events as ev
from aistack.jobs.effects import AbortStream, Emit, OpenStream, Respond
from aistack.relays.ollama import Ollama, OllamaSettings
from aistack.relays.qwen_tts import QwenTts, QwenTtsSettings
from aistack.relays.upstream import Sessions
from aistack.run.process import EngineSettings
from aistack.run.runner import Runner
from aistack.run.scheduler import Scheduler
from aistack.wire.relay import Relayed, RelayWire
from tests.doubles.ollama import Ollama as OllamaDouble
from tests.doubles.vllm_omni import VllmOmni
from tests.unit.run.conftest import PlainWhole

BOUND_S = 30.0
MODEL = "qwen3:4b"
TTS_ID = "qwen3-tts-12hz-0.6b-customvoice"


@attrs.define
class Reply:
    """An answer as a client would get it. `cut`: the connection was broken, no clean end."""

    status: int
    headers: dict[str, str]
    frames: list[bytes]
    cut: bool = False
    length: int | None = None

    @property
    def body(self) -> bytes:
        return b"".join(self.frames)

    @property
    def error(self) -> dict[str, Any]:
        value = json.loads(self.body)["error"]
        assert isinstance(value, dict)
        return value


class World:
    """Submit chats, speech calls and scripted transcriptions; look at what became of them."""

    def __init__(self, tmp: Path, ollama: Ollama, tts: QwenTts, sessions: Sessions) -> None:
        self.tmp = tmp
        self.ollama = ollama
        self.tts = tts
        self.sessions = sessions
        self.done: list[Transition] = []
        self.scheduler = Scheduler(Snapshot((Slot("cpu"),), limits=Limits(open_after=0.2)), [self._note])
        fake = EngineSettings(
            "fake", "aistack.engines.fake:FakeEngine", "Fake", sys.executable, 0.3, 20.0, 20.0, 0
        )
        self.runner = Runner(
            self.scheduler.post,
            self.scheduler.ready,
            lambda resident, device: ModelSpec(resident.model, resident.model, device),
            {"fake": fake},
            {"ollama": ollama, "qwen_tts": tts},
            {"ollama": "cpu", "qwen_tts": "cpu"},
        )
        self.scheduler.steps = self.runner
        self.task = asyncio.get_running_loop().create_task(self.scheduler.run())

    def _note(self, transition: Transition) -> None:
        if transition.target.value == "done":
            self.done.append(transition)

    async def stop(self) -> None:
        await asyncio.wait_for(self.runner.close(), BOUND_S)
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task
        await self.sessions.close()

    # --- jobs -----

    def chat(self, stream: bool = False, body: bytes | None = None, **members: Any) -> Job:
        value = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]} | members
        if stream:
            value["stream"] = True
        request = relayed_chat(json.dumps(value).encode() if body is None else body)
        what = Relayed.CHAT_STREAM if request.stream else Relayed.CHAT_WHOLE
        route = Route("ollama", request.model or "", self.ollama.vram, "cpu")
        return Job(
            id=job_id(), request_id="r", op=Op.CHAT, route=route, request=request, wire=RelayWire(what)
        )

    def speech(self, **members: Any) -> Job:
        value = {"input": "Hello there.", "voice": "vivian"} | members
        return self.speak(
            relay_request("POST", "/v1/audio/speech", json.dumps(value).encode(), "application/json")
        )

    def speak(self, request: RelayRequest) -> Job:
        route = Route("qwen_tts", TTS_ID, self.tts.vram, "cpu")
        return Job(
            id=job_id(),
            request_id="r",
            op=Op.SPEAK,
            route=route,
            request=request,
            wire=RelayWire(Relayed.SPEECH),
        )

    def transcribe(self) -> Job:
        path = self.tmp / f"{job_id()}.json"
        path.write_text(json.dumps([{"say": "hello"}]))
        route = Route("fake", "fake-small", Vram.OWN)
        request = TranscriptionRequest(str(path))
        return Job(
            id=job_id(),
            request_id="r",
            op=Op.TRANSCRIBE,
            route=route,
            request=request,
            wire=PlainWhole(),
        )

    def job(self, kind: str) -> Job:
        """The plain job of one column of the table of failures."""
        return self.speech() if kind == "speech" else self.chat(stream=kind == "chat stream")

    # --- answers -----

    async def ask(self, job: Job) -> Reply:
        outlet = self.scheduler.submit(job)
        return read(await asyncio.wait_for(outlet.collect(), BOUND_S))

    def leave(self, job: Job) -> None:
        """The client of this job is gone."""
        self.scheduler.post(ev.ClientGone(job.id))

    async def quiet(self) -> None:
        await asyncio.wait_for(self.scheduler.quiet(), BOUND_S)

    @staticmethod
    async def sessions_breathe() -> None:
        """Let the loop look at its sockets a few times."""
        for _ in range(20):
            await asyncio.sleep(0)

    @property
    def free(self) -> bool:
        return self.scheduler.snapshot.slot("cpu").holder is None

    @property
    def outcome(self) -> str:
        outcome = self.done[-1].job.outcome
        assert outcome is not None
        return outcome.kind.value


def read(answer: list[Any]) -> Reply:
    """What the outlet said, as a client would see it."""
    first = answer[0]
    if isinstance(first, Respond):
        headers = {name.lower(): value for name, value in first.answer.headers}
        return Reply(first.answer.status, headers, [first.answer.body])
    assert isinstance(first, OpenStream)
    headers = {name.lower(): value for name, value in first.head.headers}
    headers["content-type"] = first.head.content_type
    frames = [effect.frame for effect in answer if isinstance(effect, Emit)]
    return Reply(
        first.head.status, headers, frames, isinstance(answer[-1], AbortStream), first.head.length
    )


@pytest.fixture
async def ollama() -> AsyncIterator[OllamaDouble]:
    async with OllamaDouble() as double:
        yield double


@pytest.fixture
async def omni() -> AsyncIterator[VllmOmni]:
    async with VllmOmni() as double:
        yield double


@pytest.fixture
def limits() -> dict[str, Any]:
    """Time limits of the relays; a test module may override them."""
    return {"connect_s": 1.0, "read_s": 20.0}


@pytest.fixture
async def world(
    tmp_path: Path,
    ollama: OllamaDouble,
    omni: VllmOmni,
    limits: dict[str, Any],
    no_gates: None,
) -> AsyncIterator[World]:
    sessions = Sessions()
    chat = Ollama(OllamaSettings(ollama.url, **limits), sessions)
    speech = QwenTts(QwenTtsSettings(omni.url, **limits), sessions)
    world = World(tmp_path, chat, speech, sessions)
    yield world
    await world.stop()


@pytest.fixture
def no_gates(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("AISTACK_FAKE_LOADS", raising=False)
    yield
