"""The doctor's checks of engines: each one's libraries are loaded in a separate process, bounded."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from aistack import __version__
from aistack.config import Config
from aistack.config.installing import here, libraries, ourselves
from aistack.config.sections import engine_section
from aistack.contract.devices import Device
from aistack.doctor.findings import Finding, FindingState
from aistack.engines.base import EngineInfo
from aistack.routing.discovery import real_engines
from aistack.routing.inventory import Inventory

LOAD_S = 180.0
"""How long the libraries of one engine may take to load: NeMo needs 20 s, more on a busy machine."""

TOGETHER = 2
"""How many are loaded at a time: each takes a core and up to a gigabyte."""

AUDIO = {
    "reading": "aistack.doctor.audio:Reading",
    "writing": "aistack.doctor.audio:Writing",
}

Begun = Callable[[str], None]


@frozen
class Probed:
    """What a probe's process reported, or how it ended."""

    found: Mapping[str, Any]
    trouble: str = ""


Told = Callable[[Finding], None]


async def engines(
    config: Config, inventory: Inventory, card: bool, begun: Begun, told: Told
) -> list[Finding]:
    """A finding for each engine, each passed to `told` as soon as it is known.

    `card`: whether this machine has a working GPU; `begun` gets the engine that is being loaded now.
    """
    turn = asyncio.Semaphore(TOGETHER)

    async def one(name: str, target: str) -> Finding:
        if name in config.engines.disabled:
            return Finding("Engines", name, FindingState.NOTE, "switched off by engines.disabled")
        try:
            engine = inventory.engine(name)
        except KeyError:
            says = (
                f"the module {target.partition(':')[0]} cannot be imported; the log of `serve` says why"
            )
            return Finding("Engines", name, FindingState.BROKEN, says)
        own = engine_section(config, name).python
        async with turn:
            begun(engine.provider)
            probed = await probe(own or sys.executable, target)
        return judged(engine, probed, own, card, config.slots.devices)

    async def looked(name: str, target: str) -> Finding:
        finding = await one(name, target)
        told(finding)
        return finding

    targets = real_engines()
    found = await asyncio.gather(*(looked(name, target) for name, target in targets.items()))
    none_works = _none_works(list(found), inventory, config)
    for finding in none_works:
        told(finding)
    return [*found, *none_works]


def _none_works(found: list[Finding], inventory: Inventory, config: Config) -> list[Finding]:
    """A finding if no engine can transcribe."""
    asr = {
        engine.provider
        for name in real_engines()
        if name not in config.engines.disabled and (engine := _offered(inventory, name)) is not None
        if any(model.capability == "asr" for model in engine.models())
    }
    if any(finding.name in asr and finding.state is FindingState.WORKS for finding in found):
        return []
    says = "no speech-to-text engine works: transcriptions get 503"
    return [Finding("Engines", "all", FindingState.BROKEN, says, here(libraries("faster-whisper")))]


def _offered(inventory: Inventory, name: str) -> EngineInfo | None:
    try:
        return inventory.engine(name)
    except KeyError:
        return None


async def audio_findings() -> list[Finding]:
    """Whether audio can be read and written."""
    probes = await asyncio.gather(*(probe(sys.executable, target) for target in AUDIO.values()))
    found = []
    for name, probed in zip(AUDIO, probes, strict=True):
        told = probed.found
        if "missing" in told or "error" in told or probed.trouble:
            why = probed.trouble or told.get("error") or "PyAV is not installed"
            help_ = here(libraries("av", "numpy"), again=True)
            found.append(Finding("Audio", name, FindingState.BROKEN, why, help_))
        else:
            says = f"{_versions(told)}: {told['remark']}"
            found.append(Finding("Audio", name, FindingState.WORKS, says, facts=told))
    return found


def judged(
    engine: EngineInfo, probed: Probed, own: str, card: bool, devices: tuple[str, ...]
) -> Finding:
    """What a probe's result means for the engine; `own` is its configured interpreter."""
    told, name = probed.found, engine.provider
    elsewhere = f" (in {own})" if own else ""
    if probed.trouble:
        help_ = "" if own else here(engine.install, again=True)
        return Finding("Engines", name, FindingState.BROKEN, probed.trouble + elsewhere, help_, told)
    if told.get("version") != __version__:
        says = f"its interpreter has aistack {told.get('version')}, not {__version__}{elsewhere}"
        return Finding("Engines", name, FindingState.BROKEN, says, ourselves(own), told)
    if "missing" in told:
        lacking = ", ".join(told["missing"])
        if own:  # the configuration says that it is there
            says = f"{lacking} cannot be found{elsewhere}"
            help_ = here(engine.install, own)
            return Finding("Engines", name, FindingState.BROKEN, says, help_, told)
        return Finding(
            "Engines", name, FindingState.MISSING, "not installed", here(engine.install), told
        )
    if "error" in told:
        says = f"its libraries cannot be loaded: {told['error']}{elsewhere}"
        help_ = "" if own else here(engine.install, again=True)
        return Finding("Engines", name, FindingState.BROKEN, says, help_, told)
    says = f"{_versions(told)}, loaded in {told['seconds']:g} s{elsewhere}"
    if told["cuda"] is not None:
        says += ", uses the GPU" if told["cuda"] else ", runs on the CPU"
        named = any(Device.parse(each).is_cuda for each in devices)
        if not told["cuda"] and (named or (card and "auto" in devices)):
            state = FindingState.BROKEN if named else FindingState.NOTE
            help_ = "install its libraries in a build for CUDA to use the GPU"
            return Finding("Engines", name, state, says, help_, told)
    return Finding("Engines", name, FindingState.WORKS, says, facts=told)


def _versions(told: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in told.get("versions", {}).items())


async def probe(python: str, target: str, limit_s: float = LOAD_S) -> Probed:
    """Run a probe; this returns in time whatever its process does."""
    environ = os.environ | {"HF_HUB_OFFLINE": "1"}  # a check must not download anything
    try:
        process = await asyncio.create_subprocess_exec(
            python,
            "-m",
            "aistack.doctor.probe",
            target,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environ,
            start_new_session=True,
        )
    except OSError as exc:
        return Probed({}, f"its interpreter cannot be started: {exc.strerror or type(exc).__name__}")
    try:
        out, err = await asyncio.wait_for(process.communicate(), limit_s)
    except TimeoutError:
        return Probed({}, f"its libraries did not load within {limit_s:g} s")
    finally:
        await _ended(process)
    try:
        found = json.loads(out)
    except ValueError:
        return Probed({}, _end_of(process.returncode, err))
    return Probed(found)


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Kill what is left of the process and its group."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), 5.0)


def _end_of(code: int | None, err: bytes) -> str:
    """How a process ended that printed no result."""
    lines = [line for line in err.decode("utf-8", "replace").splitlines() if line.strip()]
    last = lines[-1].strip()[:200] if lines else ""
    if "No module named 'aistack'" in last or "No module named aistack" in last:
        return "aistack is not installed"
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"its libraries crashed while loading ({signal.Signals(-code).name})"
    return f"the process that loaded its libraries exited with code {code}{': ' if last else ''}{last}"
