"""Whether new weights may be loaded beside the old ones: by what is free now, with room to spare.

An estimate from the size of their files. What others take between the estimate and the end of the load
is not seen, so the estimate is generous, and a load that runs out of memory after all leaves the old
weights where they are.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from aistack.chunks import ModelSpec
from aistack.config.units import GiB
from aistack.contract.devices import Device
from aistack.engines.nanochat import weights as nano_weights
from aistack.run.memory import free_bytes

HEADROOM = 3 * GiB // 2
"""Bytes needed besides the weights: the libraries, a card's context, the cache of a conversation."""
WIDENED = 2
"""On a CPU, 16-bit weights are widened to 32 bits."""


def available_bytes(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Memory of this machine that may be taken, within the container's limit; None if unknown."""
    try:
        lines = (proc / "meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return None
    try:
        most = (cgroup / "memory.max").read_text(encoding="ascii").strip()
        used = int((cgroup / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return free
    return min(free, max(0, int(most) - used)) if most.isdecimal() else free


def enough(size: int, free: int | None, device: str) -> bool:
    """Whether weights whose files have `size` bytes fit into `free` bytes of `device`."""
    if free is None or size <= 0:
        return False
    factor = WIDENED if Device.parse(device).is_cpu else 1
    return factor * size + HEADROOM <= free


async def beside(spec: ModelSpec) -> bool:
    """Whether there is room for `spec` on its device now. Looks at files and memory in a thread."""
    return await asyncio.to_thread(_has_room, spec)


def _has_room(spec: ModelSpec) -> bool:
    size = nano_weights.size(Path(spec.source))
    cpu = Device.parse(spec.device).is_cpu
    return enough(size, available_bytes() if cpu else free_bytes(spec.device), spec.device)
