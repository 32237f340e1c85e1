"""How much memory processes and cards hold, from /proc and from the driver. Blocks for a moment."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from attrs import frozen

from aistack.run.memory import Card, card

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


@frozen
class ProcessMemory:
    """Memory of one process in bytes. `pss` counts a shared page by its share; none where unknown."""

    engine: str
    device: str
    rss: int
    pss: int | None


def of_processes(
    alive: Iterable[tuple[str, str, int]], proc: Path = Path("/proc")
) -> list[ProcessMemory]:
    """Of every engine process that is still there; nothing where there is no /proc."""
    found = []
    for engine, device, pid in alive:
        try:
            rss = int((proc / str(pid) / "statm").read_text().split()[1]) * _PAGE
        except (OSError, IndexError, ValueError):  # gone, or not Linux
            continue
        found.append(ProcessMemory(engine, device, rss, _pss(proc / str(pid) / "smaps_rollup")))
    return found


def _pss(path: Path) -> int | None:
    try:
        for line in path.read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, IndexError, ValueError):  # an old kernel, or not ours to look at
        return None
    return None


def of_cards(devices: Iterable[str]) -> dict[str, Card]:
    """Of every card that the driver knows."""
    known = {device: card(device) for device in devices}
    return {device: there for device, there in known.items() if there is not None}
