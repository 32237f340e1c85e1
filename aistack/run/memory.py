"""Free memory of a card, and waiting until it has stopped rising after a process has ended.

The driver gives a dead process's memory back a moment after its exit; a load that starts in that
moment gets an out-of-memory error for nothing.
"""

from __future__ import annotations

import asyncio
import importlib.util

PAUSE_S = 0.05


def free_bytes(device: str) -> int | None:
    """Free memory of a CUDA device in bytes; none where nobody can say."""
    if not device.startswith("cuda") or importlib.util.find_spec("pynvml") is None:
        return None
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        index = int(device.partition(":")[2] or 0)
        return int(pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(index)).free)
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


async def settle(device: str, limit_s: float = 2.0) -> None:
    """Wait until free memory on `device` has stopped rising, `limit_s` at most."""
    if not device.startswith("cuda"):
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
