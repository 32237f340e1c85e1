"""The engine processes of a runner, as tests look at them."""

from __future__ import annotations

from aistack.run.process import EngineProcess
from aistack.run.runner import Runner


def serving(runner: Runner, device: str) -> EngineProcess:
    """The process that serves on the device; fails if there is none."""
    process = runner._devices[device].serving
    assert process is not None, f"no engine process serves on {device}"
    return process


def pid_on(runner: Runner, device: str) -> int:
    """Its process id."""
    return serving(runner, device).pid
