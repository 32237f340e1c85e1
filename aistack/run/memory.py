"""Waiting until the free memory of a card has stopped rising after a process has ended.

The driver gives a dead process's memory back a moment after its exit; a load that starts in that
moment would run out of memory although there is enough.
"""

from __future__ import annotations

import asyncio

from aistack.contract.devices import Device
from aistack.run.nvml import GpuMemory, gpu_memory

PAUSE_S = 0.05


def free_bytes(device: str) -> int | None:
    """Free memory of a CUDA device in bytes; None where it cannot be read. Blocks for a moment."""
    memory = gpu_memory(device)
    return None if memory is None else memory.free


async def measured(device: str) -> GpuMemory | None:
    """The device's memory, read off the loop; None where it cannot be read."""
    return await asyncio.to_thread(gpu_memory, device) if Device.parse(device).is_cuda else None


async def settle(device: str, limit_s: float = 2.0) -> None:
    """Wait until free memory on `device` has stopped rising, `limit_s` at most."""
    if not Device.parse(device).is_cuda:
        return
    before = await asyncio.to_thread(free_bytes, device)
    if before is None:
        return
    loop = asyncio.get_running_loop()
    end = loop.time() + limit_s
    calm = 0
    while calm < 2 and loop.time() < end:
        await asyncio.sleep(PAUSE_S)
        now = await asyncio.to_thread(free_bytes, device)
        if now is None:
            return
        calm = calm + 1 if now <= before else 0
        before = max(before, now)
