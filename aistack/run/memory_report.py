"""What the cards and our processes hold in memory right now, for the operator. Blocks: run in a thread.

Cards are NVML's; a process's resident size is the kernel's. What nobody can say is left out.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from attrs import frozen

from aistack.contract.admin import CardView, MemoryView, ProcessView
from aistack.devices import Device

MB = 1024 * 1024
PS_S = 2.0
"""How long `ps` may take, seconds."""


@frozen
class OurProcess:
    """One of our processes; `device` is its slot, none for a spare."""

    pid: int
    engine: str
    device: str | None


def memory(devices: Collection[str], living: Iterable[OurProcess]) -> MemoryView:
    """Memory of the CUDA devices among `devices`, of this process and of `living`."""
    all_ours = (OurProcess(os.getpid(), "gateway", None), *living)
    sizes = resident_sizes([each.pid for each in all_ours])
    wanted = [device for device in devices if Device.parse(device).is_cuda]
    cards, reason = cards_of(wanted, {each.pid for each in all_ours})
    processes = tuple(
        ProcessView(
            pid=each.pid, engine=each.engine, device=each.device, rss_mb=_mb(sizes.get(each.pid))
        )
        for each in all_ours
    )
    return MemoryView(cards=cards, reason=reason, processes=processes)


def cards_of(devices: Collection[str], pids: Collection[int]) -> tuple[tuple[CardView, ...], str | None]:
    """The cards, or the reason why there are none."""
    if not devices:
        return (), "No slot is on a CUDA device: models run on the processor."
    if importlib.util.find_spec("pynvml") is None:
        return (), "nvidia-ml-py is not installed, so the cards' memory cannot be read."
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return (), "The NVIDIA driver does not answer, so the cards' memory cannot be read."
    try:
        return tuple(_card(device, pids) for device in devices), None
    except pynvml.NVMLError:
        return (), "The NVIDIA driver knows no such card."
    finally:
        pynvml.nvmlShutdown()


def _card(device: str, pids: Collection[int]) -> CardView:
    """One card. Raises NVMLError."""
    import pynvml

    handle = pynvml.nvmlDeviceGetHandleByIndex(Device.parse(device).number)
    info = pynvml.nvmlDeviceGetMemoryInfo(handle)
    name = pynvml.nvmlDeviceGetName(handle)
    try:
        held = [
            each.usedGpuMemory
            for each in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
            if each.pid in pids and each.usedGpuMemory is not None
        ]
        ours: float | None = round(sum(held) / MB)
    except pynvml.NVMLError:  # some drivers and containers do not tell
        ours = None
    return CardView(
        device=device,
        name=name.decode() if isinstance(name, bytes) else str(name),
        total_mb=round(int(info.total) / MB),
        free_mb=round(int(info.free) / MB),
        used_mb=round((int(info.total) - int(info.free)) / MB),
        ours_mb=ours,
    )


def resident_sizes(pids: Collection[int]) -> Mapping[int, int]:
    """Resident bytes by process id; a process that has gone, or a system that cannot say: absent."""
    if Path("/proc/self/statm").exists():
        page = os.sysconf("SC_PAGE_SIZE")
        sizes = {}
        for pid in pids:
            try:
                sizes[pid] = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page
            except (OSError, IndexError, ValueError):
                continue
        return sizes
    return ps_sizes(pids)


def ps_sizes(pids: Collection[int]) -> Mapping[int, int]:
    """The same by `ps`, where there is no /proc (macOS)."""
    command = ["ps", "-o", "pid=,rss=", "-p", ",".join(map(str, pids))]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=PS_S, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    pairs = (line.split() for line in told.splitlines())
    return {int(pair[0]): int(pair[1]) * 1024 for pair in pairs if len(pair) == 2}


def _mb(size: int | None) -> float | None:
    return None if size is None else round(size / MB)
