"""The page of `aistack status`, made from `/admin/api/state`: slots, queue, memory, recent jobs.

Moments are Unix seconds of the server; a clock that is behind the server's shows 0 s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from aistack.cli.output import columns
from aistack.observe.terminal import plain
from aistack.observe.units import clock, file_size, memory_size, percent, span

JOBS = 5
"""Ended jobs that are shown."""

Table = Mapping[str, Any]


def page(state: Table, url: str, now: float) -> str:
    """The page, made safe for a terminal. `state` is the server's answer, `now` the unix time."""
    up = span(now - state["started"])
    head = f"aistack {state['version']} at {url}, up for {up}"
    if state["mode"] == "draining":
        head += "; STOPPING, no new jobs are accepted"
    lines = [head, "", "Slots", *_slots(state["slots"], now)]
    waiting = state["line"]
    lines += ["", f"Queue ({len(waiting['line'])} of {waiting['places']} places in use)"]
    lines += _columns([_waits(entry, now) for entry in waiting["line"]]) or ["  empty"]
    lines += ["", "Memory", *_columns(list(_memory(state["memory"])))]
    lines += ["", "Recent jobs", *(_columns(list(_jobs(state["timeline"]))) or ["  none yet"])]
    return "\n".join(map(plain, lines))


def _slots(slots: Sequence[Table], now: float) -> Iterator[str]:
    """A line for each slot, and one below it about the job that holds it."""
    width = max(len(plain(slot["device"])) for slot in slots)
    for slot in slots:
        holder, resident = slot.get("holder"), slot.get("resident")
        device = f"  {plain(slot['device']):<{width}}"
        if holder is None:
            kept = f"{resident['model']} is in memory" if resident else "no model in memory"
            yield f"{device}  idle for {span(now - slot['since'])}, {kept}"
            continue
        step = f" ({holder['step']})" if holder.get("step") in ("evict", "load") else ""
        lasts = f"{slot['state']}{step} for {span(now - holder['state_since'])}"
        yield f"{device}  {lasts}, has held the slot for {span(now - holder['since'])}"
        done = progress(holder.get("progress"))
        work = f"{holder['op']} with {holder['model']}{f', {done}' if done else ''}"
        yield f"  {'':<{width}}  {work}; request {holder['request_id']}"


def progress(told: Table | None) -> str:
    """`0:45 of 3:10 of audio (24%), about 12 s left`, as far as it is known."""
    if not told:
        return ""
    form, unit = UNITS.get(told["unit"], (_whole, told["unit"]))
    shown = form(told["done"]) + (f" of {form(told['total'])}" if told.get("total") else "")
    shown += f" {unit}" if unit else ""
    if told.get("share") is not None:
        shown += f" ({percent(told['share'])})"
    if told.get("eta_s") is not None:
        shown += f", about {span(told['eta_s'])} left"
    return shown


def _waits(entry: Table, now: float) -> list[str]:
    return [
        f"{entry['op']} with {entry['model']}",
        f"has waited {span(now - entry['since'])}, gives up after {span(entry['patience_s'])}",
        f"request {entry['request_id']}",
    ]


def _memory(memory: Table) -> Iterator[list[str]]:
    for card in memory["cards"]:
        used = f"{memory_size(card['used_mb'])} of {memory_size(card['total_mb'])} in use"
        ours = f"{memory_size(card['ours_mb'])} by aistack" if card.get("ours_mb") is not None else ""
        yield [card["device"], card["name"], used, ours]
    for process in memory["processes"]:
        where = process.get("device") or ("" if process["engine"] == "gateway" else "warm spare")
        rss = process.get("rss_mb")
        size = "unknown" if rss is None else memory_size(rss)
        yield [process["engine"], where, size, f"pid {process['pid']}"]
    if not memory["cards"] and memory.get("reason"):
        yield ["no GPU", memory["reason"]]


def _jobs(timeline: Table) -> Iterator[list[str]]:
    ended = [job for job in timeline["jobs"] if job.get("ended") is not None]
    for job in reversed(ended[-JOBS:]):
        outcome = job.get("outcome") or "?"
        took = f"took {span(job['ended'] - job['submitted'])}"
        if job.get("audio_s") is not None:
            took += f" for {span(job['audio_s'])} of audio"
        yield [
            time.strftime("%H:%M:%S", time.localtime(job["ended"])),
            f"{job['op']} with {job['model']}",
            f"{outcome} ({job['code']})" if job.get("code") else outcome,
            took,
            f"request {job['request_id']}",
        ]


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows aligned as a terminal shows them, and indented."""
    return [f"  {line}" for line in columns([[plain(str(cell)) for cell in row] for row in rows])]


def _whole(value: float) -> str:
    return f"{value:.0f}"


UNITS: Mapping[str, tuple[Callable[[float], str], str]] = {
    "s": (clock, "of audio"),
    "bytes": (file_size, ""),
}
"""How progress is told: the form of a number, and the words behind it."""
