"""Exhaustive search of small worlds: every order of every event, every law in every state.

`python -m tests.unit.jobs.explore` searches the worlds of the suite and prints their sizes;
`--large` the larger ones (minutes). A broken law is reported with the shortest trace that leads to it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from attrs import frozen

from aistack.jobs import Job, Limits, Snapshot
from tests.unit.jobs import build as b
from tests.unit.jobs.world import Move, World


@frozen
class Small:
    """A world to search: what is resident at first, the jobs that come, and what else may happen.

    `drains`: the service may be told to stop at any moment; `foreign`: others come and go on the
    cards; `deaths`: how many idle engines may die; `spoils`: a format may break down at any chunk.
    """

    name: str
    snapshot: Snapshot
    jobs: tuple[Job, ...]
    deaths: int = 0
    drains: bool = False
    foreign: bool = False
    spoils: bool = False


class Broken(AssertionError):
    """A law does not hold; `trace` is the shortest way there."""

    def __init__(self, small: Small, trace: tuple[Move, ...], why: BaseException) -> None:
        super().__init__(
            f"{small.name}: {type(why).__name__}: {why}\n  after " + " · ".join(map(str, trace))
        )
        self.trace = trace


@frozen
class Found:
    """What a search saw."""

    states: int
    steps: int
    complete: bool


def moves(small: Small, world: World) -> Iterator[Move]:
    yield from world.moves()
    if small.foreign:
        for device in world.ours:
            yield ("foreign", device)
    if small.spoils:
        for job_id in world.steps:
            yield ("spoil", job_id)
    if small.drains:
        yield ("drain expired",) if world.draining else ("drain",)


def ends(move: Move) -> bool:
    """Whether a move happens by itself, with nobody asking for anything."""
    return move[0] not in (
        "submit",
        "gone",
        "produce",
        "dies",
        "foreign",
        "spoil",
        "drain",
        "drain expired",
    )


def explore(small: Small, at_most: int = 10**9) -> Found:
    """Visit every state of the world. Raises Broken for the first law that fails.

    Liveness: from every state, the events that happen by themselves can empty the book.
    """
    root = World(small.snapshot, small.jobs, small.deaths)
    start = _key(small, root)
    came: dict[Any, tuple[Any, Move] | None] = {start: None}
    back: dict[Any, list[Any]] = {start: []}
    empty = [start]
    queue = deque([(start, root)])
    steps = 0
    while queue and len(came) < at_most:
        key, world = queue.popleft()
        for move in moves(small, world):
            steps += 1
            following = world.copy()
            try:
                following.do(move)
            except Exception as why:
                raise Broken(small, (*_trace(came, key), move), why) from why
            reached = _key(small, following)
            if reached not in came:
                came[reached] = (key, move)
                back[reached] = []
                queue.append((reached, following))
                if not following.snapshot.jobs:
                    empty.append(reached)
            if ends(move):
                back[reached].append(key)
    if not queue:
        _live(small, came, back, empty)
    return Found(len(came), steps, not queue)


def _key(small: Small, world: World) -> Any:
    return (world.key(), world.foreign) if small.foreign else world.key()


def _trace(came: dict[Any, tuple[Any, Move] | None], key: Any) -> tuple[Move, ...]:
    trace: list[Move] = []
    while (step := came[key]) is not None:
        key, move = step
        trace.append(move)
    return tuple(reversed(trace))


def _live(small: Small, came: dict[Any, Any], back: dict[Any, list[Any]], empty: list[Any]) -> None:
    """Every state can end: it leads to an empty book by moves that happen by themselves."""
    can_end = set(empty)
    todo = list(empty)
    while todo:
        for earlier in back[todo.pop()]:
            if earlier not in can_end:
                can_end.add(earlier)
                todo.append(earlier)
    for key in came:
        if key not in can_end:
            raise Broken(small, _trace(came, key), AssertionError("nothing can end from here"))


# --- the worlds -------------------------------------------------------------------------------------

_SHORT = Limits(max_queued=1)


def small_worlds() -> tuple[Small, ...]:
    """Those of the suite: seconds in all."""
    one, two = b.service(b.OLD, selected=b.OLD), b.service(b.OLD, None, selected=b.OLD)
    both = b.service(b.OLD, b.OLD, selected=b.OLD)
    return (
        Small("two engines, one waits", b.service(b.WHISPER), (A, P), 1, drains=True, foreign=True),
        Small("a chat and two transcriptions", b.service(None), (A_STREAM, C_WAITS, P), 1, spoils=True),
        Small("a queue of one", b.service(None, limits=_SHORT), (A, P, C_WAITS)),
        Small("housekeeping in the way", b.service(b.WHISPER), (Z, A, L), 1, drains=True),
        Small(
            "a container beside an engine", b.service(b.WHISPER), (b.speak("t"), A, C), 1, spoils=True
        ),
        Small("a swap and a generation", one, (G_WAITS, S, A), 1),
        Small("two swaps", one, (b.generate("g"), S, U), drains=True),
        Small("the same tag again", one, (b.swap("s", b.OLD), G_WAITS, b.unload("z", b.OLD)), 1),
        Small("nothing selected yet", b.service(None), (S, b.generate("g")), drains=True),
        Small("two cards, a swap", two, (G_WHOLE, S), 1, drains=True, spoils=True),
        Small("two cards, a swap of both", both, (S, b.generate("g", b.WHOLE)), 1, drains=True),
        Small("two cards, old weights by name", both, (S, b.generate("g", b.WHOLE), b.load("l", b.OLD))),
        Small("two cards, a bound swap", both, (b.swap("s", device="gpu1"), A)),
        Small("four in one card", b.service(b.WHISPER), (A_STREAM, C_WAITS, P, Z), 1, drains=True),
        Small("two cards, two swaps", both, (S, U, G_WAITS), drains=True),
    )


def large_worlds() -> tuple[Small, ...]:
    """Those of the command line."""
    one, both = b.service(b.OLD, selected=b.OLD), b.service(b.OLD, b.OLD, selected=b.OLD)
    mixed = b.service(b.OLD, b.WHISPER, selected=b.OLD)
    three = b.service(b.OLD, b.OLD, b.OLD, selected=b.OLD)
    g, h = b.generate("g", b.WHOLE), b.generate("h", b.WHOLE)
    return (
        *small_worlds(),
        Small("four and strangers", b.service(b.WHISPER), (A, C_WAITS, P, Z), 1, True, True, True),
        Small("five in one card", b.service(b.WHISPER), (A, C_WAITS, P, Z, L), 1),
        Small("two cards, three engines", b.service(b.WHISPER, None), (A, P, C), 1, True),
        Small("two cards, four jobs", b.service(b.WHISPER, None), (A, P, C_WAITS, Z)),
        Small("a swap, a chat, two generations", one, (S, C_WAITS, G_WAITS, h), 1),
        Small("two cards, a swap and two generations", both, (S, G_WAITS, h), 1, True, spoils=True),
        Small("two cards, old weights, more", both, (S, G_WAITS, b.load("l", b.OLD)), 1, True),
        Small("two cards, a swap and an engine", mixed, (S, G_WAITS, A_WAITS), 1, True),
        Small("two cards, a swap and a chat", both, (S, G_WAITS, C_WAITS), 1, True),
        Small("three cards, a swap of all", three, (S, g, h), 1, True),
    )


A, A_STREAM = b.listen("a"), b.listen("a", wire=b.STREAM)
A_WAITS = b.listen("a", max_wait_s=3.0)
P = b.listen("p", b.PARAKEET, b.STREAM, max_wait_s=9.0)
C, C_WAITS = b.chat("c"), b.chat("c", wire=b.RELAYED, max_wait_s=3.0)
G_WAITS, G_WHOLE = b.generate("g", max_wait_s=3.0), b.generate("g", b.WHOLE, max_wait_s=3.0)
S, U = b.swap("s"), b.swap("u", b.WHISPER)
Z, L = b.unload("z"), b.load("l", b.PARAKEET)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help="the larger worlds too (minutes)")
    parser.add_argument("--at-most", type=int, default=3_000_000, help="states per world")
    options = parser.parse_args(arguments)
    total = 0
    for small in large_worlds() if options.large else small_worlds():
        began = time.process_time()
        found = explore(small, options.at_most)
        total += found.states
        took = time.process_time() - began
        word = "complete" if found.complete else "cut"
        said = f"{found.states:>9} states {found.steps:>10} events {took:7.1f} s  {word:8}  {small.name}"
        print(said, flush=True)  # noqa: T201 - a command's output
    print(f"{total:>9} states in all, no law broken")  # noqa: T201 - a command's output
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
