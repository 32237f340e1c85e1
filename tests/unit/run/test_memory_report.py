"""Memory of processes and cards, on a machine that may have no card."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import psutil
import pytest

from aistack.run.memory_report import memory
from aistack.run.nvml import GpuMemory, gpu_memory
from aistack.run.process import OurProcess
from aistack.run.process_memory import ps_sizes, resident_sizes

pytestmark = pytest.mark.both_loops

MB = 1024 * 1024


def test_our_own_size_is_what_the_system_says() -> None:
    told = resident_sizes([os.getpid()])[os.getpid()]
    assert told == pytest.approx(psutil.Process().memory_info().rss, rel=0.2)


def test_a_process_that_has_gone_is_left_out() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait(30)
    assert gone.pid not in resident_sizes([gone.pid])
    told = memory(["cpu"], [OurProcess(gone.pid, "whisper", "cpu")])
    assert [each.engine for each in told.processes] == ["gateway", "whisper"]
    assert told.processes[1].rss_mb is None


def test_where_there_is_no_proc_ps_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ps = tmp_path / "ps"
    ps.write_text('#!/bin/sh\necho "$@" >&2\necho "  12   2048"\necho " 345 1"\n')
    ps.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ps_sizes([12, 345, 6]) == {12: 2048 * 1024, 345: 1024}
    ps.unlink()
    assert ps_sizes([12]) == {}


def test_no_card_is_a_reason_and_no_failure() -> None:
    assert memory(["cpu"], []).cards == ()
    assert "processor" in str(memory(["cpu"], []).reason)


class Nvml(types.ModuleType):
    """A driver with one card and two processes on it."""

    class NVMLError(Exception):
        pass

    def __init__(self, up: bool = True, tells: bool = True) -> None:
        super().__init__("pynvml")
        self.up, self.tells, self.depth = up, tells, 0
        self.__spec__ = None

    def nvmlInit(self) -> None:
        if not self.up:
            raise self.NVMLError
        self.depth += 1

    def nvmlShutdown(self) -> None:
        self.depth -= 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        if index != 0:
            raise self.NVMLError
        return index

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return types.SimpleNamespace(total=8000 * MB, free=3000 * MB)

    def nvmlDeviceGetName(self, handle: int) -> bytes:
        return b"A Card"

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[Any]:
        if not self.tells:
            raise self.NVMLError
        others = types.SimpleNamespace(pid=1, usedGpuMemory=4000 * MB)
        hidden = types.SimpleNamespace(pid=os.getpid(), usedGpuMemory=None)
        return [types.SimpleNamespace(pid=os.getpid(), usedGpuMemory=500 * MB), others, hidden]


def with_driver(monkeypatch: pytest.MonkeyPatch, nvml: Nvml) -> Nvml:
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    return nvml


def test_a_card_and_our_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = with_driver(monkeypatch, Nvml())
    (card,) = memory(["cpu", "cuda:0"], []).cards
    assert (card.device, card.name) == ("cuda:0", "A Card")
    assert (card.total_mb, card.free_mb, card.used_mb, card.ours_mb) == (8000, 3000, 5000, 500)
    assert nvml.depth == 0


@pytest.mark.parametrize(
    ("nvml", "device", "reason"),
    [
        (Nvml(up=False), "cuda:0", "does not answer"),
        (Nvml(), "cuda:1", "no such card"),
    ],
)
def test_a_driver_that_cannot_say(
    monkeypatch: pytest.MonkeyPatch, nvml: Nvml, device: str, reason: str
) -> None:
    with_driver(monkeypatch, nvml)
    told = memory([device], [])
    assert told.cards == ()
    assert reason in str(told.reason)
    assert nvml.depth == 0


def test_a_driver_that_hides_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    with_driver(monkeypatch, Nvml(tells=False))
    (card,) = memory(["cuda:0"], []).cards
    assert (card.used_mb, card.ours_mb) == (5000, None)


def test_the_memory_of_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be read is None: nothing that waits for memory may fail over a device's name."""
    nvml = with_driver(monkeypatch, Nvml())
    assert gpu_memory("cuda:0") == gpu_memory("cuda") == GpuMemory(3000 * MB, 8000 * MB)
    assert [gpu_memory(device) for device in ("cpu", "mps", "cuda:1", "cuda:x")] == [None] * 4
    assert nvml.depth == 0
