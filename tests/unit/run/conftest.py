"""A real scheduler and runner with fake engine processes and a fake relay; no network, no sleeps."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aistack.chunks import ModelSpec, TranscriptionRequest, Vram
from aistack.errors import Fault
from aistack.ids import job_id
from aistack.jobs import Job, Limits, Op, Resident, Route, Slot, Snapshot, Transition
from aistack.jobs.effects import AbortStream, Emit, Respond
from aistack.run.process import EngineSettings
from aistack.run.runner import Runner
from aistack.run.scheduler import Scheduler
from aistack.wire.base import Answer, StreamHead, StreamWire, WholeWire
from tests.doubles.relay import FakeRelay, ScriptedCall

BOUND_S = 30.0


class PlainWhole(WholeWire):
    """The text of the result."""

    def body(self, parts: Any, result: Any) -> Answer:
        return Answer(200, getattr(result, "text", "").encode())


class PlainStream(StreamWire):
    """The text of the chunks; readable in a failing test."""

    def head(self, chunk: Any) -> StreamHead:
        return StreamHead()

    def frame(self, chunk: Any) -> bytes | None:
        data = getattr(chunk, "data", None)
        if data is not None:
            return bytes(data)
        text = getattr(chunk, "text", None)
        return None if text is None else f"{chunk.lead}{text}".encode()

    def tail(self, result: Any) -> bytes | None:
        text = getattr(result, "text", None)
        return bytes(result.data) if text is None else f"|{text}".encode()

    def fault(self, fault: Fault) -> tuple[bytes | None, bool]:
        return f"!{fault.code.value}".encode(), True


class Gates:
    """The other side of the fake engines' gates."""

    def __init__(self) -> None:
        self.waiting: dict[str, asyncio.Queue[asyncio.StreamWriter]] = {}

    def _queue(self, name: str) -> asyncio.Queue[asyncio.StreamWriter]:
        return self.waiting.setdefault(name, asyncio.Queue())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = (await reader.readline()).decode().strip()
        self._queue(name).put_nowait(writer)

    async def entered(self, name: str) -> asyncio.StreamWriter:
        """Wait until an engine stands at the gate."""
        return await asyncio.wait_for(self._queue(name).get(), BOUND_S)

    @staticmethod
    def let_pass(writer: asyncio.StreamWriter) -> None:
        """Open the gate for the engine that stands there."""
        writer.write(b"!")
        writer.close()


class Rig:
    """What a test needs: submit scripts, collect answers, look at the log of transitions."""

    def __init__(self, tmp: Path, gates: Gates, devices: tuple[str, ...], limits: Limits) -> None:
        self.tmp = tmp
        self.gates = gates
        self.done: list[Transition] = []
        self.discarded: list[str] = []
        self.relay = FakeRelay()
        self.scheduler = Scheduler(
            Snapshot(tuple(Slot(device) for device in devices), limits=limits), [self._note]
        )
        self.settings = EngineSettings(
            "fake", "aistack.engines.fake:FakeEngine", "Fake", sys.executable, 0.3, 20.0, 20.0, 0
        )
        self.runner = self.make_runner()
        self.task: asyncio.Task[None] | None = None

    def make_runner(self, **changes: Any) -> Runner:
        import attrs

        spare = changes.pop("spare", False)
        beside = changes.pop("beside", None)
        settings = attrs.evolve(self.settings, **changes)
        self.runner = Runner(
            self.scheduler.post,
            self.scheduler.ready,
            lambda resident, device: ModelSpec(resident.model, resident.model, device),
            {"fake": settings},
            {"fake-relay": self.relay},
            {"fake-relay": "cpu"},
            spare=spare,
            beside=beside,
        )
        self.scheduler.steps = self.runner
        return self.runner

    def _note(self, transition: Transition) -> None:
        if transition.target.value == "done":
            self.done.append(transition)

    def script(self, *acts: dict[str, Any]) -> TranscriptionRequest:
        path = self.tmp / f"{job_id()}.json"
        path.write_text(json.dumps(acts))
        return TranscriptionRequest(str(path))

    def job(
        self,
        *acts: dict[str, Any],
        stream: bool = False,
        model: str = "fake-small",
        max_wait_s: float = 0,
    ) -> Job:
        route = Route("fake", model, Vram.OWN)
        request = self.script(*acts)
        return Job(
            id=job_id(),
            request_id="r",
            op=Op.TRANSCRIBE,
            route=route,
            request=request,
            wire=PlainStream() if stream else PlainWhole(),
            max_wait_s=max_wait_s,
        )

    def chat(self, *acts: Any) -> Job:
        route = Route("fake-relay", "m", Vram.EXTERNAL, "cpu")
        request = ScriptedCall("POST", "/", acts=acts)
        return Job(
            id=job_id(), request_id="r", op=Op.CHAT, route=route, request=request, wire=PlainStream()
        )

    def submit(self, job: Job) -> Any:
        return self.scheduler.submit(job, lambda: self.discarded.append(job.id))

    async def ask(self, *acts: dict[str, Any], **how: Any) -> str:
        """The whole answer of one scripted job as text, prefixed with its status."""
        outlet = self.submit(self.job(*acts, **how))
        return said(await asyncio.wait_for(outlet.collect(), BOUND_S))

    async def quiet(self) -> None:
        await asyncio.wait_for(self.scheduler.quiet(), BOUND_S)

    async def start(self) -> None:
        self.task = asyncio.get_running_loop().create_task(self.scheduler.run())

    async def stop(self) -> None:
        await asyncio.wait_for(self.runner.close(), BOUND_S)
        assert self.task is not None
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


def said(answer: list[Any]) -> str:
    """An answer in one line: `200 text`, or `~frame~frame.` for streams (`/` if aborted)."""
    first = answer[0]
    if isinstance(first, Respond):
        body = first.answer.body.decode()
        code = json.loads(body)["error"]["code"] if first.answer.status >= 400 else body
        return f"{first.answer.status} {code}"
    frames = [effect.frame.decode() for effect in answer if isinstance(effect, Emit)]
    end = "/" if isinstance(answer[-1], AbortStream) else "."
    return "~" + "~".join(frames) + end


@pytest.fixture
async def gates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gates]:
    gates = Gates()
    path = str(tmp_path / "gates")
    server = await asyncio.start_unix_server(gates.serve, path)
    monkeypatch.setenv("AISTACK_FAKE_GATES", path)
    monkeypatch.setenv("AISTACK_FAKE_LOADS", str(tmp_path / "loads.json"))
    yield gates
    server.close()
    for queue in gates.waiting.values():
        while not queue.empty():
            queue.get_nowait().close()


@pytest.fixture
async def rig(tmp_path: Path, gates: Gates) -> AsyncIterator[Rig]:
    rig = Rig(tmp_path, gates, ("cpu",), Limits())
    await rig.start()
    yield rig
    await rig.stop()


def resident(model: str = "fake-small") -> Resident:
    return Resident("fake", model)
