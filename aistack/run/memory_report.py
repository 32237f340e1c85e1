"""What the cards and our processes hold in memory right now, for the operator. Blocks: run in a thread.

What cannot be read is left out.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable

from aistack.config.units import MiB
from aistack.contract.admin import CardView, MemoryView, ProcessView
from aistack.run.nvml import Absence, Driver, NoGpu, driver, index_of
from aistack.run.process import OurProcess
from aistack.run.process_memory import resident_sizes

REASONS = {
    Absence.NO_LIBRARY: "nvidia-ml-py is not installed, so the cards' memory cannot be read.",
    Absence.NO_DRIVER: "The NVIDIA driver does not answer, so the cards' memory cannot be read.",
    Absence.SILENT: "The NVIDIA driver does not answer, so the cards' memory cannot be read.",
    Absence.FAILED: "The NVIDIA driver knows no such card.",
}
"""What the operator reads in place of the cards."""


def memory(devices: Collection[str], processes: Iterable[OurProcess]) -> MemoryView:
    """Memory of the CUDA devices among `devices`, of this process and of our other `processes`."""
    every = (OurProcess(os.getpid(), "gateway", None), *processes)
    sizes = resident_sizes([each.pid for each in every])
    cuda = [device for device in devices if device.startswith("cuda")]
    cards, reason = _cards(cuda, {each.pid for each in every})
    return MemoryView(
        cards=cards,
        reason=reason,
        processes=tuple(
            ProcessView(
                pid=each.pid, engine=each.engine, device=each.device, rss_mb=_mib(sizes.get(each.pid))
            )
            for each in every
        ),
    )


def _cards(devices: Collection[str], pids: Collection[int]) -> tuple[tuple[CardView, ...], str | None]:
    """The cards, or the reason why there are none."""
    if not devices:
        return (), "No slot is on a CUDA device: models run on the processor."
    try:
        with driver() as there:
            return tuple(_card(there, device, pids) for device in devices), None
    except NoGpu as exc:
        return (), REASONS[exc.absence]


def _card(there: Driver, device: str, pids: Collection[int]) -> CardView:
    index = index_of(device)
    size = there.memory(index)
    return CardView(
        device=device,
        name=there.name(index),
        total_mb=round(size.total / MiB),
        free_mb=round(size.free / MiB),
        used_mb=round(size.used / MiB),
        ours_mb=_mib(there.held_by(index, pids)),
    )


def _mib(size: int | None) -> float | None:
    return None if size is None else round(size / MiB)
