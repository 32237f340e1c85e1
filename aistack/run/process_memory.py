"""How much memory processes hold, as the kernel says. Blocks for a moment."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path

PROC = Path("/proc")
PS_S = 2.0
"""How long `ps` may take, seconds."""


def resident_sizes(pids: Collection[int], proc: Path = PROC) -> Mapping[int, int]:
    """Resident bytes by process id. A process that has gone is absent, and so is every process where
    the system does not say."""
    if not (proc / "self" / "statm").exists():
        return ps_sizes(pids)
    page_size = os.sysconf("SC_PAGE_SIZE")
    sizes = {}
    for pid in pids:
        try:
            sizes[pid] = int((proc / str(pid) / "statm").read_text().split()[1]) * page_size
        except (OSError, IndexError, ValueError):
            continue
    return sizes


def ps_sizes(pids: Collection[int]) -> Mapping[int, int]:
    """The same by `ps`, where there is no /proc (macOS)."""
    command = ["ps", "-o", "pid=,rss=", "-p", ",".join(map(str, pids))]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=PS_S, check=False)
    except (OSError, subprocess.SubprocessError):
        return {}
    pairs = (line.split() for line in ran.stdout.splitlines())
    return {int(pair[0]): int(pair[1]) * 1024 for pair in pairs if len(pair) == 2}


def proportional_size(pid: int, proc: Path = PROC) -> int | None:
    """Bytes with each shared page counted by this process's share of it (pss); None where unknown."""
    try:
        for line in (proc / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, IndexError, ValueError):  # an old kernel, or not ours to look at
        return None
    return None
