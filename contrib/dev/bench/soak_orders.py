"""What the long run asks for, all from one seed: scripts, real audio, who leaves, when, and how."""

from __future__ import annotations

import json
import random
from typing import Any

from attrs import frozen

from contrib.dev.bench.harness import AUDIO, multipart

LEAVING = 1 / 3
KILLS = 1 / 200
"""Of all jobs, how many see an engine process killed when they start."""
BLOCKS = 10
"""The real jobs come in so many blocks: each change of engine costs a start."""
MOMENT_S = 0.06
"""A client that leaves does so within this time: in line, while its job runs, or just after."""


@frozen
class Order:
    """One request to be made. `leave_s`: when its client leaves (none: it stays); `sent`: how much of
    the request it sends before that."""

    body: bytes
    leave_s: float | None = None
    reset: bool = False
    sent: float = 1.0
    kill: bool = False


ACTS: tuple[tuple[int, list[dict[str, Any]]], ...] = (
    (60, [{"say": "one two", "end": 1}, {"say": "three", "start": 1, "end": 2}]),
    (20, [{"progress": [1, 2]}, *({"say": "again", "start": n, "end": n + 1} for n in range(40))]),
    (5, [{"spam": 3000}, {"print": "noise"}, {"say": "one", "end": 1}]),
    (3, [{"say": "one", "end": 1}, {"fail": "malformed"}]),
    (2, [{"say": "one", "end": 1}, {"fail": "bug"}]),
    (1, [{"say": "one", "end": 1}, {"fail": "oom"}]),
    (1, [{"say": "one", "end": 1}, {"crash": "segv"}]),
)
"""Weight and script."""


def orders(jobs: int, real: int, seed: int) -> list[Order]:
    """The run, from its seed."""
    dice = random.Random(seed)
    audio = (AUDIO / "digits-en.wav").read_bytes()
    killing = frozenset(dice.sample(range(jobs), max(2, round(jobs * KILLS))))
    blocks = min(BLOCKS, max(1, real // 10))
    size, per_block = jobs // blocks, real // blocks
    made = []
    for at in range(jobs):
        listening = at % size >= size - per_block and at // size < blocks
        made.append(_order(dice, audio if listening else None, at in killing))
    return made


def _order(dice: random.Random, audio: bytes | None, kill: bool) -> Order:
    leaves = dice.random() < LEAVING
    fields = {"stream": "true"} if dice.random() < 0.5 else {}
    if audio is None:
        (script,) = dice.choices([acts for _, acts in ACTS], [weight for weight, _ in ACTS])
        if leaves and dice.random() < 0.01:
            script = [*script, {"hang": True}]
        body = multipart(json.dumps(script).encode(), model="fake-small", **fields)
    else:
        body = multipart(audio, model="tiny-digits", **fields)
    if not leaves:
        return Order(body, kill=kill)
    sent = dice.random() if dice.random() < 0.05 else 1.0
    return Order(body, dice.uniform(0, MOMENT_S), dice.random() < 0.5, sent, kill)


def simple() -> Order:
    """A short job whose client stays."""
    return Order(multipart(json.dumps(ACTS[0][1]).encode(), model="fake-small"))


def refused() -> Order:
    """An upload that becomes no job."""
    return Order(multipart(bytes(2**21), model="no-such"))
