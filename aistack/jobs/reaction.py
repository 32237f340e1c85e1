"""What `handle` returns."""

from __future__ import annotations

from attrs import frozen

from aistack.jobs.effects import Effect
from aistack.jobs.model import Snapshot, Transition


@frozen(slots=False)
class Reaction:
    """What `handle` returns: the new world, what to log, and what to do, in order."""

    snapshot: Snapshot
    transitions: tuple[Transition, ...]
    effects: tuple[Effect, ...]
