"""A114 over HTTP, with memory that really is too small: a limit on the engine process's address space.

The limit is set from outside on the process that holds the model, just above what it has; the
libraries fail by themselves, in their own words. Linux only (`prlimit`), as is the GPU business.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from tests.http.engines.conftest import child
from tests.http.engines.sounds import EN, EN_TEXT, repeated, spoken
from tests.http.gateway.service import Service

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="prlimit is Linux's")

MiB = 2**20


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five minutes."""
    return repeated(tmp_path_factory.mktemp("sound") / "long.wav", 5)


def narrowed(pid: int, mib: int) -> None:
    """From now on the process gets that much more memory and no byte beyond."""
    process = psutil.Process(pid)
    most = process.memory_info().vms + mib * MiB
    process.rlimit(psutil.RLIMIT_AS, (most, most))


def test_a114_parakeet_runs_out_of_memory(parakeet: Service, long: Path) -> None:
    runs_out(parakeet, "parakeet", 8, long)


def test_a114_sensevoice_runs_out_of_memory(sensevoice: Service, long: Path) -> None:
    runs_out(sensevoice, "sensevoice", 4, long)


def runs_out(service: Service, name: str, mib: int, audio: Path) -> None:
    """413 overflow; the process is gone with what it held; the next request finds a new one."""
    assert service.client.transcribe(EN, model=name).status == 200
    service.quiet()
    before = child(service)
    narrowed(before, mib)
    answer = service.client.transcribe(audio, model=name)
    assert (answer.status, answer.error["kind"]) == (413, "overflow"), answer.text
    assert answer.error["code"] == "out_of_memory"
    assert not psutil.pid_exists(before)
    assert service.client.get("/health").json["status"] == "ok"
    again = service.client.transcribe(EN, model=name)
    assert (again.status, spoken(again.json["text"])) == (200, EN_TEXT)
    assert child(service) != before


def test_an_engine_that_is_killed_is_told_and_replaced(sensevoice: Service, long: Path) -> None:
    """While it streams: what was said stands, then the error, and no clean end."""
    assert sensevoice.client.transcribe(EN, model="sensevoice").status == 200
    call = sensevoice.client.send(long, model="sensevoice", stream="true")
    events = call.events()
    assert next(events)["type"] == "transcript.text.delta"
    os.kill(child(sensevoice), signal.SIGKILL)
    last = list(events)[-1]
    call.close()
    assert (last["type"], last["error"]["code"]) == ("error", "engine_crashed")
    sensevoice.quiet()
    assert sensevoice.client.transcribe(EN, model="whisper-small").status == 200
