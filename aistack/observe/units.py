"""Sizes and times in words, the same wherever a person reads them. Pure.

Files are counted in powers of ten, as hubs and file managers do; memory in powers of two (MiB, GiB), as
drivers do.
"""

from __future__ import annotations


def file_size(size: float) -> str:
    """Bytes as `484 MB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size:.0f} bytes"


def memory_size(mib: float) -> str:
    """MiB as `512 MiB` or `7.6 GiB`."""
    return f"{mib / 1024:.1f} GiB" if mib >= 1024 else f"{mib:.0f} MiB"


def span(seconds: float) -> str:
    """A length of time in words, to the two largest units; never negative."""
    seconds = max(seconds, 0.0)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min" + (f" {rest} s" if rest else "")
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h" + (f" {minutes} min" if minutes else "")
    return f"{hours // 24} days"


def clock(seconds: float) -> str:
    """Seconds as `1:02:03` or `2:03`."""
    hours, rest = divmod(int(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def percent(share: float) -> str:
    """A share as `24%`, at most 100%."""
    return f"{min(share, 1):.0%}"
