"""Clients that leave, engines that die, a service that is stopped: what is told, and what is left."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.server import Server, serving, until
from tests.e2e.talk import BOUND_S, SAID, SAY, WAIT, script, transcribe

WAYS = ("close", "reset", "half_close")
IDS = iter(range(10**6))


def asked(
    *acts: dict[str, Any], prefer: bool = False, stream: str = "", **fields: str
) -> tuple[str, bytes]:
    """A request with an id of its own, and the id."""
    if stream:
        fields["stream"] = stream
    request_id = f"fault-{next(IDS)}"
    headers = {"X-Request-ID": request_id, **(WAIT if prefer else {})}
    return request_id, script(*acts, headers=headers, **fields)


# --- clients that leave -------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("part", ["request line", "headers", "upload"])
def test_who_leaves_before_the_request_is_complete(fake: Server, part: str, way: str) -> None:
    request_id, request = asked({"say": "x" * 3_000_000})
    head = request.index(b"\r\n\r\n") + 4
    talk = fake.begin(
        request[: {"request line": 9, "headers": head - 20, "upload": head + 2_000_000}[part]]
    )
    if part == "upload":
        until(lambda: fake.vitals().spooled == 1, "the upload on disk")
    getattr(talk, way)()
    if way == "half_close":
        assert talk.leftover() == b""
        talk.close()
    until(lambda: fake.vitals().spooled == 0, "the upload removed")
    assert fake.log.find("job.done", request_id=request_id) == []


@pytest.mark.parametrize("way", WAYS)
def test_who_leaves_the_line(fake: Server, way: str) -> None:
    _, holding = asked({"gate": "holder"}, *SAY)
    holder = fake.begin(holding)
    at_gate = fake.gates.entered("holder")
    request_id, request = asked(*SAY, prefer=True)
    talk = fake.begin(request)
    fake.log.wait("job.transition", request_id=request_id, to="waiting")
    getattr(talk, way)()
    assert fake.done(request_id)["outcome"] == "cancelled"
    fake.gates.let_pass(at_gate)
    assert holder.reply().text == SAID
    holder.close()
    if way == "half_close":
        assert talk.leftover() == b""
        talk.close()


@pytest.mark.parametrize("way", WAYS)
def test_a154_who_leaves_while_the_model_loads(fake: Server, way: str) -> None:
    fake.loads("fake-large", {"gate": "load"})
    request_id, request = asked(*SAY, model="fake-large")
    talk = fake.begin(request)
    at_gate = fake.gates.entered("load")
    getattr(talk, way)()
    fake.log.wait("job.transition", request_id=request_id, to="cancelled")
    busy = fake.say(script(*SAY))
    assert busy.told == (503, "network", "slot_busy")
    fake.gates.let_pass(at_gate)
    assert fake.done(request_id)["outcome"] == "cancelled"
    fake.loads("fake-large", {"crash": "kill"})
    kept = fake.say(script(*SAY, model="fake-large"))
    assert (kept.status, kept.text) == (200, SAID), "the load that was paid for was not kept"
    talk.close()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("engine", ["willing", "deaf"])
@pytest.mark.parametrize("stream", ["", "true"])
def test_a113_a153_who_leaves_while_it_runs(fake: Server, stream: str, engine: str, way: str) -> None:
    act = {"gate": "run"} if engine == "willing" else {"hang": "run"}
    request_id, request = asked({"say": "one"}, act, *SAY, stream=stream)
    before = [process.pid for process in fake.engines]
    talk = fake.begin(request)
    at_gate = fake.gates.entered("run")
    if stream:
        assert talk.head().status == 200
        assert talk.event()["delta"] == "one"
    if engine == "deaf":
        fake.gates.let_pass(at_gate)
    getattr(talk, way)()
    assert fake.done(request_id)["outcome"] == "cancelled"
    at_gate.close()
    assert ([process.pid for process in fake.engines] == before) == (engine == "willing")
    if way == "half_close":
        rest = talk.leftover()
        assert b"three" not in rest
        assert not rest.endswith(b"0\r\n\r\n"), "what was cut looked complete"
        talk.close()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stream", ["", "true"])
def test_who_leaves_after_the_answer(fake: Server, stream: str, way: str) -> None:
    request_id, request = asked(*SAY, stream=stream)
    talk = fake.begin(request)
    said = talk.reply()
    getattr(talk, way)()
    assert (said.status, said.complete, fake.done(request_id)["outcome"]) == (200, True, "ok")
    if way == "half_close":
        assert talk.leftover() == b""
        talk.close()


# --- engines that die ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "status", "kind", "code"),
    [
        ({"crash": "kill"}, 500, "unknown", "engine_crashed"),
        ({"crash": "segv"}, 500, "unknown", "engine_crashed"),
        ({"crash": "exit"}, 500, "unknown", "engine_crashed"),
        ({"fail": "oom"}, 413, "overflow", "out_of_memory"),
        ({"fail": "bug"}, 500, "unknown", "internal_error"),
    ],
)
def test_a114_a133_a152_an_engine_that_fails_in_a_run(
    fake: Server, act: dict[str, str], status: int, kind: str, code: str
) -> None:
    whole = fake.say(script({"say": "one"}, act, *SAY))
    assert whole.told == (status, kind, code)
    assert whole.headers.get("x-should-retry") == ("false" if status == 500 else None)
    streamed = fake.say(script({"say": "one"}, act, *SAY, stream="true"))
    assert (streamed.status, streamed.complete) == (200, True)
    first, last = streamed.events
    assert (first["delta"], last["type"], last["kind"]) == ("one", "error", kind)
    assert last["error"]["code"] == code
    assert fake.say(script(*SAY)).text == SAID


@pytest.mark.parametrize("stream", ["", "true"])
def test_an_engine_killed_from_outside_while_it_runs(fake: Server, stream: str) -> None:
    talk = fake.begin(script({"say": "one"}, {"gate": "run"}, *SAY, stream=stream or "false"))
    at_gate = fake.gates.entered("run")
    for engine in fake.engines:
        engine.kill()
    said = talk.reply()
    talk.close()
    at_gate.close()
    error = said.events[-1]["error"] if stream else said.error
    assert (said.status, said.complete) == ((200, True) if stream else (500, True))
    assert (error["kind"], error["code"]) == ("unknown", "engine_crashed")


def test_an_engine_killed_while_it_is_idle_is_replaced(fake: Server) -> None:
    assert fake.say(script(*SAY)).status == 200
    gone = len(fake.log.find("idle engine process ended"))
    for engine in fake.engines:
        engine.kill()
    fake.log.wait("idle engine process ended", count=gone + 1)
    assert fake.say(script(*SAY)).text == SAID


@pytest.mark.parametrize(
    ("act", "status", "kind", "code"),
    [
        ({"fail": "oom"}, 413, "overflow", "out_of_memory"),
        ({"fail": "network"}, 503, "network", "model_load_failed"),
        ({"fail": "bug"}, 503, "network", "model_load_failed"),
        ({"crash": "segv"}, 503, "network", "model_load_failed"),
        ({"crash": "kill"}, 503, "network", "model_load_failed"),
    ],
)
@pytest.mark.parametrize("stream", ["false", "true"])
def test_an_engine_that_fails_in_a_load(
    fake: Server, stream: str, act: dict[str, str], status: int, kind: str, code: str
) -> None:
    fake.loads("fake-large", act)
    failed = fake.say(script(*SAY, model="fake-large", stream=stream))
    assert failed.told == (status, kind, code)
    assert failed.headers.get("x-should-retry") == ("false" if status == 503 else None)
    assert "retry-after" not in failed.headers
    fake.loads("")
    assert fake.say(script(*SAY, model="fake-large")).text == SAID


def test_an_engine_killed_from_outside_while_it_loads(fake: Server) -> None:
    fake.loads("fake-large", {"gate": "load"})
    talk = fake.begin(script(*SAY, model="fake-large"))
    at_gate = fake.gates.entered("load")
    for engine in fake.engines:
        engine.kill()
    assert talk.reply().told == (503, "network", "model_load_failed")
    talk.close()
    at_gate.close()
    fake.loads("")
    assert fake.say(script(*SAY, model="fake-large")).text == SAID


@pytest.fixture(scope="module")
def impatient_server() -> Iterator[Server]:
    """One that takes an engine's silence of a second for a hang."""
    with serving(stall_s=1.0) as server:
        server.warm()
        yield server


@pytest.fixture
def impatient(impatient_server: Server) -> Iterator[Server]:
    yield impatient_server
    impatient_server.loads("")
    impatient_server.check()


def test_an_engine_that_hangs(impatient: Server) -> None:
    whole = impatient.say(script({"hang": True}))
    assert whole.told == (500, "unknown", "engine_stalled")
    streamed = impatient.say(script({"say": "one"}, {"hang": True}, stream="true"))
    assert streamed.events[-1]["error"]["code"] == "engine_stalled"
    impatient.loads("fake-large", {"hang": True})
    assert impatient.say(script(*SAY, model="fake-large")).told == (503, "network", "model_load_failed")


# --- the service is stopped ---------------------------------------------------------------------------


def gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=10)
    return not alive


def test_sigterm_lets_a_stream_finish_within_the_grace() -> None:
    with serving(grace_s=BOUND_S) as server:
        talk = server.begin(script({"say": "one"}, {"gate": "run"}, {"say": "two"}, stream="true"))
        at_gate = server.gates.entered("run")
        children = server.engines
        server.process.send_signal(signal.SIGTERM)
        server.log.wait("stopping")
        server.gates.let_pass(at_gate)
        said = talk.reply()
        talk.close()
        assert said.events[-1]["text"] == "one two"
        assert server.process.wait(BOUND_S) == 0
        assert gone(children)
        assert list(server.spool.iterdir()) == []


def test_sigterm_tells_everybody_who_is_connected() -> None:
    with serving(grace_s=0.2) as server:
        stream = server.begin(script({"say": "one"}, {"gate": "run"}, *SAY, stream="true"))
        at_gate = server.gates.entered("run")
        children = server.engines
        request_id, request = asked(*SAY, prefer=True)
        waiting = server.begin(request)
        server.log.wait("job.transition", request_id=request_id, to="waiting")
        half = server.begin(transcribe(bytes(3_000_000))[:2_000_000])
        idle = server.begin(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.reply().status == 200
        until(lambda: server.vitals().spooled == 3, "three uploads on disk")
        assert server.stop() == 0
        said = stream.reply()
        assert (said.events[0]["delta"], said.complete) == ("one", True)
        assert said.events[-1]["error"]["code"] == "shutting_down"
        assert waiting.reply().told == (503, "network", "shutting_down")
        assert half.leftover() == b""
        assert gone(children)
        assert list(server.spool.iterdir()) == []
        for talk in (stream, waiting, half, idle):
            talk.close()
        at_gate.close()
        assert [line for line in server.log.lines if line["level"] in ("error", "critical")] == []


def test_sigterm_ends_a_deaf_engine_too() -> None:
    with serving(grace_s=0.1) as server:
        talk = server.begin(script({"hang": "run"}))
        server.gates.let_pass(server.gates.entered("run"))
        children = server.engines
        assert server.stop() == 0
        assert talk.reply().told == (503, "network", "shutting_down")
        talk.close()
        assert gone(children)


@pytest.mark.parametrize("act", [{"gate": "run"}, {"hang": "run"}], ids=["working", "hanging"])
def test_engines_die_with_a_gateway_that_is_killed(act: dict[str, Any]) -> None:
    with serving() as server:
        talk = server.begin(script({"say": "one"}, act, stream="true"))
        at_gate = server.gates.entered("run")
        if "hang" in act:
            server.gates.let_pass(at_gate)
        assert talk.head().status == 200
        assert talk.event()["delta"] == "one"
        children = server.engines
        assert children
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
        assert gone(children)
        assert talk.rest()[1] is False, "what was cut looked complete"
        talk.close()
        at_gate.close()


# --- no room ------------------------------------------------------------------------------------------


def test_no_room_for_the_upload(fake: Server) -> None:
    resource = pytest.importorskip("resource", reason="limits of file size are POSIX")
    if not hasattr(resource, "prlimit"):
        pytest.skip("no prlimit on this system")
    _, hard = resource.prlimit(fake.me.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(fake.me.pid, resource.RLIMIT_FSIZE, (2**20, hard))
    try:
        full = fake.say(script({"say": "x" * 3_000_000}))
        fits = fake.say(script(*SAY))
    finally:
        resource.prlimit(fake.me.pid, resource.RLIMIT_FSIZE, (hard, hard))
    assert full.told == (413, "overflow", "too_large")
    assert fits.text == SAID
    assert fake.say(script({"say": "x" * 3_000_000})).status == 200


@pytest.fixture
def full_disk(fake: Server) -> Iterator[Path]:
    """The spool folder on a disk of a megabyte."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "none", str(fake.spool)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    yield fake.spool
    subprocess.run(["umount", "-l", str(fake.spool)], check=True)


def test_a_full_disk(fake: Server, full_disk: Path) -> None:
    assert fake.say(script({"say": "x" * 3_000_000})).told == (413, "overflow", "too_large")
    assert fake.say(script(*SAY)).text == SAID
    until(lambda: list(full_disk.iterdir()) == [], "the disk empty")
    taken = full_disk / "taken"
    with pytest.raises(OSError, match="No space"), taken.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    said = fake.say(script(*SAY))
    taken.unlink()
    assert said.told == (413, "overflow", "too_large")
    assert json.loads(fake.say(script(*SAY)).body) == {"text": SAID}
