"""The doctor's checks of this machine: GPUs, disk, and the addresses to listen on."""

from __future__ import annotations

import asyncio
import errno
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import aiohttp

from aistack.config import Config
from aistack.config.addresses import is_nowhere, parse_address, url_of
from aistack.config.installing import here, libraries
from aistack.config.units import GiB, MiB
from aistack.contract.devices import Device
from aistack.doctor.findings import Finding, FindingState
from aistack.observe.units import memory_size
from aistack.run.nvml import Absence, Driver, NoGpu, driver
from aistack.weights.cache import huggingface_cache, modelscope_cache

LOW = 3 * GiB
"""Less free space than this is reported: Parakeet alone takes 2.3."""

ASK_S = 2.0

DRIVER = "https://www.nvidia.com/drivers"


def cards(devices: tuple[str, ...]) -> list[Finding]:
    """NVIDIA GPUs, from the driver's own library; `devices` are the configured slots. Blocks briefly."""
    wanted = [device for device in devices if Device.parse(device).is_cuda]
    absent = FindingState.BROKEN if wanted else FindingState.NOTE
    because = f"; slots.devices names {', '.join(wanted)}" if wanted else "; the CPU is used"

    def none(says: str, help_: str = "") -> list[Finding]:
        return [Finding("GPUs", "NVIDIA", absent, says + because, help_)]

    try:
        with driver() as there:
            return _each(there, wanted) or none("the driver finds no GPU")
    except NoGpu as exc:
        match exc.absence:
            case Absence.NO_LIBRARY:
                says = "cannot be detected: nvidia-ml-py is not installed"
                return none(says, here(libraries("nvidia-ml-py")))
            case Absence.NO_DRIVER:
                return none("no driver on this machine")
            case Absence.SILENT:
                return none(f"the driver does not answer ({exc})", DRIVER)
            case Absence.FAILED:
                return none(f"the driver fails ({exc})", DRIVER)


def _each(there: Driver, wanted: list[str]) -> list[Finding]:
    """One finding per GPU, and one for each configured GPU that does not exist. Raises NoGpu."""
    version, count = there.version, there.count
    found = []
    for index in range(count):
        name, memory = there.name(index), there.memory(index)
        free, total = memory_size(memory.free / MiB), memory_size(memory.total / MiB)
        says = f"{name}, {free} of {total} free, driver {version}"
        facts = {"name": name, "free": memory.free, "total": memory.total, "driver": version}
        found.append(Finding("GPUs", f"cuda:{index}", FindingState.WORKS, says, facts=facts))
    for device in wanted if found else ():
        if Device.parse(device).number >= count:
            says = f"slots.devices names it, but the last one is cuda:{count - 1}"
            found.append(Finding("GPUs", device, FindingState.BROKEN, says))
    return found


# --- disk --------------------------------------------------------------------------------------------


def disk(config: Config, environ: Mapping[str, str]) -> list[Finding]:
    """Free space for model files and for uploads."""
    places = {"models (Hugging Face)": huggingface_cache(environ)}
    if config.sensevoice.hub == "ms" and importlib.util.find_spec("modelscope") is not None:
        places["models (ModelScope)"] = modelscope_cache(environ)
    found = [_room(name, folder, needed=False) for name, folder in places.items()]
    spool = Path(config.server.spool_dir or tempfile.gettempdir())
    return [*found, _room("uploads", spool, needed=True)]


def _room(name: str, folder: Path, needed: bool) -> Finding:
    """One folder. A model cache may be read-only, as long as it is complete."""
    if needed and not folder.is_dir():
        return Finding(
            "Disk", name, FindingState.BROKEN, f"{folder} does not exist", "set server.spool_dir"
        )
    there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    try:
        free = shutil.disk_usage(there).free
    except OSError as exc:
        return Finding("Disk", name, FindingState.BROKEN, f"{folder}: {exc.strerror}")
    facts = {"folder": str(folder), "free": free}
    says = f"{memory_size(free / MiB)} free in {folder}"
    if not os.access(there, os.W_OK):
        state = FindingState.BROKEN if needed else FindingState.NOTE
        return Finding("Disk", name, state, f"{says}, which is not writable", facts=facts)
    if free < LOW:
        return Finding("Disk", name, FindingState.NOTE, f"only {says}", facts=facts)
    return Finding("Disk", name, FindingState.WORKS, says, facts=facts)


# --- ports -------------------------------------------------------------------------------------------


async def ports(config: Config) -> list[Finding]:
    """Whether each address is free, or in use by a running aistack."""
    return [await _port(address) for address in config.server.listen]


async def _port(address: str) -> Finding:
    host, port = parse_address(address)
    if not port:
        return Finding("Ports", address, FindingState.WORKS, "any free port")
    try:
        await _tried(host, port)
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            return await _taken(address)
        if exc.errno == errno.EACCES:
            says = "permission denied: ports above 1023 need no special rights"
        elif is_nowhere(exc):
            says = "this machine does not have that address"
        else:
            says = exc.strerror or type(exc).__name__
        return Finding("Ports", address, FindingState.BROKEN, says, "change server.listen")
    return Finding("Ports", address, FindingState.WORKS, "free")


async def _tried(host: str, port: int) -> None:
    """Listen as the service does, and stop at once. Raises OSError."""
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, host, port)
    server.close()
    await server.wait_closed()


async def _taken(address: str) -> Finding:
    timeout = aiohttp.ClientTimeout(total=ASK_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{url_of(address)}/health") as answer,
        ):
            told = await answer.json(encoding="utf-8")
            if told["status"] == "ok" and "version" in told:
                says = f"aistack {told['version']} is running there"
                return Finding("Ports", address, FindingState.WORKS, says, facts={"health": told})
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError):
        pass  # not aistack
    says = "another program listens there"
    return Finding(
        "Ports", address, FindingState.BROKEN, says, "change server.listen, or serve --port N"
    )
