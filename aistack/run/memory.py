"""Free memory of a card, and waiting until it has stopped rising after a process has ended.

The driver gives a dead process's memory back a moment after its exit; a load that starts in that
moment gets an out-of-memory error for nothing.
"""

from __future__ import annotations

import asyncio
import importlib.util

from attrs import frozen

from aistack.devices import Device

PAUSE_S = 0.05


@frozen
class Card:
    """Memory of one card in bytes."""

    free: int
    total: int

    @property
    def used(self) -> int:
        return self.total - self.free


def card(device: str) -> Card | None:
    """Memory of a CUDA device; none where nobody can say. Blocks for a moment."""
    named = Device.parse(device)
    if not named.is_cuda or importlib.util.find_spec("pynvml") is None:
        return None
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        info = pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(named.number))
        return Card(int(info.free), int(info.total))
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def free_bytes(device: str) -> int | None:
    """Free memory of a CUDA device in bytes; none where nobody can say."""
    there = card(device)
    return None if there is None else there.free


async def measured(device: str) -> Card | None:
    """The same as `card`, off the loop."""
    return await asyncio.to_thread(card, device) if Device.parse(device).is_cuda else None


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
