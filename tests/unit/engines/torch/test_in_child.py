"""The engines in real child processes, driven by the scheduler and runner; few, for imports are slow."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aistack.chunks import ModelSpec, Notice, Segment, TranscriptionRequest, Vram
from aistack.engines.parakeet import MODEL as PARAKEET
from aistack.engines.sensevoice_files import MODEL as SENSE
from aistack.ids import job_id
from aistack.jobs import Job, Limits, Op, Route, Slot, Snapshot
from aistack.jobs import events as ev
from aistack.run.process import EngineSettings
from aistack.run.runner import Runner
from aistack.run.scheduler import Scheduler
from tests.support.engine_processes import pid_on
from tests.support.listening import AUDIO, SPOKEN, plain
from tests.unit.engines.torch.conftest import LONG, NEMO, SENSEVOICE, VAD
from tests.unit.run.conftest import PlainStream, PlainWhole, said

DIGITS = AUDIO / "digits-en.wav"
BOUND_S = 120.0

SPECS = {
    PARAKEET: ModelSpec(PARAKEET, str(NEMO), "cpu", {"threads": 1}),
    SENSE: ModelSpec(
        SENSE, str(SENSEVOICE), "cpu", {"threads": 1, "vad": str(VAD), "vad_silence_ms": 400}
    ),
    "broken": ModelSpec("broken", "/nowhere/model.nemo", "cpu"),
}
ENGINES = {"parakeet": ("Parakeet", 3.0), "sensevoice": ("SenseVoice", 1.0)}


class NotingWire(PlainStream):
    """Keeps the chunks it is given."""

    def __init__(self) -> None:
        self.chunks: list[Any] = []

    def frame(self, chunk: Any) -> bytes | None:
        self.chunks.append(chunk)
        return super().frame(chunk)


class Service:
    """One slot, both engines."""

    def __init__(self) -> None:
        self.scheduler = Scheduler(Snapshot((Slot("cpu"),), limits=Limits()), [])
        settings = {
            name: EngineSettings(
                name,
                f"aistack.engines.{name}:{provider}",
                provider,
                sys.executable,
                kill,
                60.0,
                60.0,
                5,
            )
            for name, (provider, kill) in ENGINES.items()
        }
        self.runner = Runner(
            self._post, self.scheduler.ready, lambda resident, device: SPECS[resident.model], settings
        )
        self.scheduler.steps = self.runner
        self.progress = asyncio.Event()
        self.task = asyncio.get_running_loop().create_task(self.scheduler.run())

    def _post(self, event: ev.Event) -> None:
        if isinstance(event, ev.Progressed) and event.progress.unit == "s" and event.progress.done > 0:
            self.progress.set()
        self.scheduler.post(event)

    def job(self, engine: str, model: str, path: Path, stream: bool = False, downgrade: str = "") -> Job:
        wire = NotingWire() if stream else PlainWhole()
        request = TranscriptionRequest(str(path), downgrade=downgrade)
        route = Route(engine, model, Vram.OWN)
        return Job(
            id=job_id(), request_id="r", op=Op.TRANSCRIBE, route=route, request=request, wire=wire
        )

    async def ask(self, job: Job) -> str:
        outlet = self.scheduler.submit(job)
        return said(await asyncio.wait_for(outlet.collect(), BOUND_S))

    async def leave_midway(self, job: Job) -> float:
        """Seconds from a client that leaves after the first progress to a quiet world."""
        self.progress.clear()
        self.scheduler.submit(job)
        await asyncio.wait_for(self.progress.wait(), BOUND_S)
        left = time.monotonic()
        self.scheduler.post(ev.ClientGone(job.id))
        await asyncio.wait_for(self.scheduler.quiet(), BOUND_S)
        return time.monotonic() - left

    @property
    def pid(self) -> int:
        return pid_on(self.runner, "cpu")

    async def close(self) -> None:
        await asyncio.wait_for(self.runner.close(), BOUND_S)
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    yield service
    await service.close()


async def test_a115_a126_a128_a136_parakeet_then_sensevoice(
    service: Service, quarter_hour: Path
) -> None:
    """Whole, stream, client leaves, and the other engine: two imports for all of it."""
    answer = await service.ask(service.job("parakeet", PARAKEET, DIGITS))
    assert answer[:4] == "200 "
    assert plain(answer[4:]) == plain(SPOKEN[DIGITS.name]["text"])
    first = service.pid

    job = service.job("parakeet", PARAKEET, LONG, stream=True, downgrade=PARAKEET)
    answer = await service.ask(job)
    assert isinstance(job.wire, NotingWire)
    notice, segment = job.wire.chunks
    assert isinstance(notice, Notice)
    assert isinstance(segment, Segment)
    assert answer == f"~{segment.text}~|{segment.text}."
    assert segment.start == 0.0
    assert segment.end == pytest.approx(63.26, abs=0.01)

    took = await service.leave_midway(service.job("parakeet", PARAKEET, quarter_hour))
    assert took < ENGINES["parakeet"][1] + 2
    assert service.pid == first, "it had to be killed"

    job = service.job("sensevoice", SENSE, LONG, stream=True)
    answer = await service.ask(job)
    assert service.pid != first
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    assert isinstance(job.wire, NotingWire)
    chunks = job.wire.chunks
    assert len(chunks) >= 20
    text = "".join(chunk.lead + chunk.text for chunk in chunks)
    assert answer.endswith(f"~|{text}.")
    assert chunks[0].extra == {"emotion": "neutral", "events": []}

    second = service.pid
    took = await service.leave_midway(service.job("sensevoice", SENSE, quarter_hour, stream=True))
    assert took < ENGINES["sensevoice"][1] + 1
    assert service.pid == second, "it had to be killed"


async def test_a85_a_model_that_cannot_be_loaded(service: Service) -> None:
    assert await service.ask(service.job("parakeet", "broken", DIGITS)) == "503 model_load_failed"
    assert service.scheduler.snapshot.slots[0].resident is None
