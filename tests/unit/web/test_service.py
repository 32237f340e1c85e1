"""The assembled service with the scripted engine in real child processes: upload to answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from aistack.config import Config, EnginesSection, ServerSection, SlotsSection
from aistack.config.backends import FakeSection
from aistack.engines.fake import FakeEngine
from aistack.jobs.model import Transition
from aistack.jobs.states import Phase
from aistack.service.app import BROKEN, listen, make_runner
from aistack.service.assembly import assemble, settings_of, slot_device, spare
from aistack.web.keys import SCHEDULER
from tests.doubles.web import Answered, Raw, a_file, get, multipart, named, post, soon
from tests.unit.run.conftest import Gates

pytestmark = pytest.mark.both_loops

PATH = "/v1/audio/transcriptions"
FAKE = {"fake": "aistack.engines.fake:FakeEngine"}


class Service:
    """A running service, its gates, and how its jobs ended."""

    def __init__(self, app: web.Application, runner: web.AppRunner, gates: Gates, spool: Path) -> None:
        self.app = app
        self.runner = runner
        self.gates = gates
        self.spool = spool
        self.port: int = runner.addresses[0][1]
        self.ended: asyncio.Queue[str] = asyncio.Queue()
        self.waiting = asyncio.Event()
        self.connections: list[Raw] = []

    async def begin(self, request: bytes) -> Raw:
        raw = Raw(*await asyncio.open_connection("127.0.0.1", self.port))
        self.connections.append(raw)
        await raw.send(request)
        return raw

    async def say(self, request: bytes) -> Answered:
        raw = await self.begin(request)
        try:
            return await raw.reply()
        finally:
            raw.close()

    async def over(self) -> str:
        """How the next job ended."""
        return str(await soon(self.ended.get()))


@asynccontextmanager
async def running(folder: Path, **slots: Any) -> AsyncIterator[Service]:
    spool = folder / "spool"
    spool.mkdir()
    gates = Gates()
    socket = str(folder / "g")
    at_gates: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        at_gates.append(writer)
        await gates.serve(reader, writer)

    server = await asyncio.start_unix_server(serve, socket)
    os.environ["AISTACK_FAKE_GATES"] = socket
    ended: asyncio.Queue[str] = asyncio.Queue()
    waiting = asyncio.Event()

    def note(transition: Transition) -> None:
        if transition.target is Phase.WAITING:
            waiting.set()
        if transition.target is Phase.DONE and transition.job.outcome is not None:
            ended.put_nowait(transition.job.outcome.kind.value)

    config = Config(
        server=ServerSection(spool_dir=str(spool), drain_grace_s=0.1),
        slots=SlotsSection(devices=("cpu",), idle_unload_s=0, **slots),
        engines=EnginesSection(spare="off", nice=0, kill_after_s=0.3),
    )
    app = assemble(config, [note], FAKE)
    runner = make_runner(app)
    await runner.setup()
    try:
        await listen(runner, ["127.0.0.1:0"])
        service = Service(app, runner, gates, spool)
        service.ended, service.waiting = ended, waiting
        try:
            yield service
        finally:
            for raw in service.connections:
                await raw.end()
    finally:
        await soon(runner.cleanup())
        server.close()
        for writer in at_gates:
            writer.close()
            with contextlib.suppress(OSError):
                await soon(writer.wait_closed())
        del os.environ["AISTACK_FAKE_GATES"]
        assert os.listdir(spool) == []


def script(*acts: dict[str, Any], **fields: str) -> bytes:
    """A request whose "audio" tells the fake engine what to do."""
    parts = [(named(name), value.encode()) for name, value in {"model": "fake-small", **fields}.items()]
    return post(PATH, multipart(a_file(json.dumps(acts).encode()), *parts))


SAY = ({"say": "one two", "start": 0, "end": 1}, {"say": "three", "start": 1, "end": 2})


async def test_a57_a59_a64_the_same_text_in_every_format(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        plain = await service.say(script(*SAY))
        text = await service.say(script(*SAY, response_format="text"))
        verbose = json.loads((await service.say(script(*SAY, response_format="verbose_json"))).body)
        streamed = await service.say(script(*SAY, stream="true"))
    assert json.loads(plain.body) == {"text": "one two three"}
    assert text.body == b"one two three"
    assert (verbose["text"], verbose["duration"], len(verbose["segments"])) == ("one two three", 2.0, 2)
    deltas = [json.loads(line[6:]) for line in streamed.body.decode().split("\n\n") if line]
    assert "".join(event.get("delta", "") for event in deltas) == "one two three"
    assert deltas[-1]["type"] == "transcript.text.done"


async def test_a126_a128_a_model_that_cannot_stream_warns_first(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        streamed = await service.say(script(*SAY, model="fake-whole", stream="true"))
    told = [json.loads(line[6:]) for line in streamed.body.decode().split("\n\n") if line]
    assert [event["type"] for event in told] == [
        "warning",
        "transcript.text.delta",
        "transcript.text.done",
    ]
    assert told[1]["delta"] == told[2]["text"] == "one two three"


async def test_a83_a132_a148_a157_while_busy(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        first = await service.begin(script({"gate": "a"}, *SAY))
        at_gate = await service.gates.entered("a")
        busy = await service.say(script(*SAY, stream="true"))
        unknown = await service.say(script(*SAY, model="no-such"))
        health, models = await service.say(get("/health")), await service.say(get("/v1/models"))
        service.gates.let_pass(at_gate)
        assert (await first.reply()).status == 200
        first.close()
        assert (await service.say(script(*SAY))).status == 200
    assert (busy.status, busy.headers["retry-after"], busy.error["code"]) == (503, "5", "slot_busy")
    assert busy.error["holder"]["op"] == "transcribe"
    assert (unknown.status, unknown.error["code"]) == (400, "model_not_found")
    assert (health.status, models.status) == (200, 200)
    listed = {entry["id"]: entry for entry in json.loads(models.body)["data"]}
    assert listed["fake-small"]["loaded"] is True


async def test_who_prefers_to_wait_is_served_next(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        first = await service.begin(script({"gate": "a"}, *SAY))
        at_gate = await service.gates.entered("a")
        waiting = script({"gate": "b"}, *SAY).replace(b"\r\n", b"\r\nPrefer: wait=30\r\n", 1)
        second = await service.begin(waiting)
        await soon(service.waiting.wait())
        service.gates.let_pass(at_gate)
        assert (await first.reply()).status == 200
        service.gates.let_pass(await service.gates.entered("b"))
        answered = await second.reply()
        first.close()
        second.close()
    assert (answered.status, answered.headers["preference-applied"]) == (200, "wait=30")


@pytest.mark.parametrize("way", ["close", "reset", "half_close"])
@pytest.mark.parametrize("fields", [{}, {"stream": "true"}])
async def test_a112_a113_a135_who_leaves_frees_the_slot(
    tmp_path: Path, way: str, fields: dict[str, str]
) -> None:
    async with running(tmp_path) as service:
        raw = await service.begin(script({"say": "one"}, {"gate": "a"}, *SAY, **fields))
        await service.gates.entered("a")
        getattr(raw, way)()
        assert await service.over() == "cancelled"
        assert os.listdir(service.spool) == []
        assert (await service.say(script(*SAY))).status == 200
        raw.close()


@pytest.mark.parametrize(
    ("act", "status", "code"),
    [
        ({"fail": "oom"}, 413, "out_of_memory"),
        ({"fail": "malformed"}, 400, "unsupported_audio"),
        ({"fail": "network"}, 503, "model_load_failed"),
        ({"fail": "bug"}, 500, "internal_error"),
        ({"crash": "segv"}, 500, "engine_crashed"),
    ],
)
async def test_a114_a152_an_engines_failure_is_a_status_and_the_slot_is_free(
    tmp_path: Path, act: dict[str, Any], status: int, code: str
) -> None:
    async with running(tmp_path) as service:
        failed = await service.say(script(act))
        in_band = await service.say(script({"say": "one"}, act, stream="true"))
        after = await service.say(script(*SAY))
    assert (failed.status, failed.error["code"]) == (status, code)
    last = json.loads(in_band.body.decode().split("\n\n")[-2][6:])
    assert (in_band.status, in_band.complete) == (200, True)
    assert (last["type"], last["error"]["code"]) == ("error", code)
    assert after.status == 200


async def test_a_shutdown_tells_whoever_is_connected(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        whole = await service.begin(script({"gate": "a"}, *SAY))
        await service.gates.entered("a")
        await soon(service.runner.cleanup())
        answered = await whole.reply()
        whole.close()
    assert (answered.status, answered.error["code"]) == (503, "shutting_down")


async def test_a_shutdown_ends_a_stream_in_band(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        raw = await service.begin(script({"say": "one"}, {"gate": "a"}, *SAY, stream="true"))
        await service.gates.entered("a")
        await soon(service.runner.cleanup())
        answered = await raw.reply()
        raw.close()
    assert answered.complete
    assert json.loads(answered.body.decode().split("\n\n")[-2][6:])["error"]["code"] == "shutting_down"


async def test_a_model_can_be_loaded_at_start_and_a_wrong_name_is_no_obstacle(tmp_path: Path) -> None:
    async with running(tmp_path, preload="fake-large") as service:
        assert await service.over() == "ok"
        slot = service.app[SCHEDULER].snapshot.slots[0]
        assert slot.resident is not None
        assert slot.resident.model == "fake-large"
    (tmp_path / "again").mkdir()
    async with running(tmp_path / "again", preload="nonsense") as service:
        assert (await service.say(get("/health"))).status == 200


async def test_a_scheduler_that_ends_breaks_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as service:
        scheduler: Any = service.app[SCHEDULER]

        def bug(event: Any) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(scheduler, "_handle", bug)
        answered = await service.say(script(*SAY))
        await soon(service.app[BROKEN].wait())
    assert answered.status == 503


def test_settings_of_engines() -> None:
    config = Config(
        engines=EnginesSection(kill_after_s=5.0), fake=FakeSection(kill_after_s=2.0, python="py")
    )
    made = settings_of(config, FakeEngine(), "x:Y")
    assert (made.name, made.target, made.python, made.kill_after_s) == ("fake", "x:Y", "py", 2.0)
    assert (
        settings_of(Config(engines=EnginesSection(kill_after_s=5.0)), FakeEngine(), "").kill_after_s
        == 5.0
    )
    assert settings_of(Config(), FakeEngine(), "").kill_after_s == FakeEngine.kill_after_s
    assert [slot_device(name) for name in ("cpu", "cuda:1")] == ["cpu", "cuda:1"]
    assert [spare(Config(engines=EnginesSection(spare=word))) for word in ("on", "off")] == [True, False]
