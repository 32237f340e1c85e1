"""The doctor's look at this machine: graphics cards, disk, and the addresses to listen on."""

from __future__ import annotations

import asyncio
import errno
import importlib.util
import os
import shutil
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from aistack.config import Config, GiB
from aistack.config.addresses import parse_address, url_of
from aistack.devices import Device
from aistack.doctor.findings import Finding, FindingState
from aistack.weights.cache import huggingface_cache, modelscope_cache

LOW = 3 * GiB
"""Less free space than this is worth a word: Parakeet alone is 2.5 GB."""

ASK_S = 2.0

DRIVER = "https://www.nvidia.com/drivers"


def cards(devices: tuple[str, ...]) -> list[Finding]:
    """NVIDIA cards by the driver's own library; `devices` are the configured slots. Blocks briefly."""
    wanted = [device for device in devices if Device.parse(device).is_cuda]
    absent = FindingState.BROKEN if wanted else FindingState.NOTE
    because = f"; slots.devices wants {', '.join(wanted)}" if wanted else "; the processor is used"

    def none(says: str, help_: str = "") -> list[Finding]:
        return [Finding("Graphics cards", "NVIDIA", absent, says + because, help_)]

    if importlib.util.find_spec("pynvml") is None:
        return none("cannot be looked for: nvidia-ml-py is not installed", "pip install nvidia-ml-py")
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as exc:
        if isinstance(exc, getattr(pynvml, "NVMLError_LibraryNotFound", ())):
            return none("no driver on this machine")
        return none(f"the driver does not answer ({exc})", DRIVER)
    try:
        return _each(pynvml, wanted) or none("a driver, but no card")
    except pynvml.NVMLError as exc:
        return none(f"the driver fails ({exc})", DRIVER)
    finally:
        pynvml.nvmlShutdown()


def _each(pynvml: object, wanted: list[str]) -> list[Finding]:
    """One finding a card, and one for each configured card that is not there. Raises NVMLError."""
    nvml: Any = pynvml
    driver = _text(nvml.nvmlSystemGetDriverVersion())
    found = []
    count = int(nvml.nvmlDeviceGetCount())
    for index in range(count):
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        name, free, total = _text(nvml.nvmlDeviceGetName(handle)), int(memory.free), int(memory.total)
        says = f"{name}, {gigabytes(free)} of {gigabytes(total)} free, driver {driver}"
        facts = {"name": name, "free": free, "total": total, "driver": driver}
        found.append(Finding("Graphics cards", f"cuda:{index}", FindingState.WORKS, says, facts=facts))
    for device in wanted if found else ():
        if Device.parse(device).number >= count:
            says = f"slots.devices names it, and there are only {count}"
            found.append(Finding("Graphics cards", device, FindingState.BROKEN, says))
    return found


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


# --- disk --------------------------------------------------------------------------------------------


def disk(config: Config, environ: Mapping[str, str]) -> list[Finding]:
    """Room where weights are kept, and where uploads are."""
    places = {"weights (Hugging Face)": huggingface_cache(environ)}
    if config.sensevoice.hub == "ms" and importlib.util.find_spec("modelscope") is not None:
        places["weights (ModelScope)"] = modelscope_cache(environ)
    found = [_room(name, folder, needed=False) for name, folder in places.items()]
    spool = Path(config.server.spool_dir or tempfile.gettempdir())
    return [*found, _room("uploads", spool, needed=True)]


def _room(name: str, folder: Path, needed: bool) -> Finding:
    """One folder. Where weights lie may be read-only, as long as they are all there."""
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
    says = f"{gigabytes(free)} free in {folder}"
    if not os.access(there, os.W_OK):
        state = FindingState.BROKEN if needed else FindingState.NOTE
        return Finding("Disk", name, state, f"{says}, which cannot be written to", facts=facts)
    if free < LOW:
        return Finding("Disk", name, FindingState.NOTE, f"only {says}", facts=facts)
    return Finding("Disk", name, FindingState.WORKS, says, facts=facts)


def gigabytes(size: float) -> str:
    """Bytes in powers of ten."""
    return f"{size / 1e9:.1f} GB"


# --- ports -------------------------------------------------------------------------------------------


async def ports(config: Config) -> list[Finding]:
    """Whether each address can be listened on, or is held by an aistack already."""
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
            says = "needs more rights: ports above 1023 need none"
        elif exc.errno == errno.EADDRNOTAVAIL or isinstance(exc, socket.gaierror):
            says = "this machine has no such address"
        else:
            says = exc.strerror or type(exc).__name__
        return Finding("Ports", address, FindingState.BROKEN, says, "change server.listen")
    return Finding("Ports", address, FindingState.WORKS, "free")


async def _tried(host: str, port: int) -> None:
    """Listen as the service would, and stop at once. Raises OSError."""
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
            told = await answer.json()
            if told["status"] == "ok" and "version" in told:
                says = f"aistack {told['version']} is running there"
                return Finding("Ports", address, FindingState.WORKS, says, facts={"health": told})
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError):
        pass  # whoever it is, it is not us
    says = "another program listens there"
    return Finding(
        "Ports", address, FindingState.BROKEN, says, "change server.listen, or serve --port N"
    )
