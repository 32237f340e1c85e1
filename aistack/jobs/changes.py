"""Changed copies of the machine's values, each change checked by the type checker.

`evolve` copies the dict of an unslotted frozen value: several times cheaper than `attrs.evolve`, and it
runs for every chunk of every job. What may be changed of a value is a TypedDict beside it here, so that
a field that does not exist, or has another type, is an error before any test.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict, TypeVar, Unpack, overload

from aistack.chunks import Progress, Result
from aistack.jobs.events import Stamped
from aistack.jobs.model import Broken, Job, Kept, Outcome, Resident, Route, Slot, Snapshot
from aistack.jobs.states import Mode, State, Step

EventT = TypeVar("EventT", bound=Stamped)
T = TypeVar("T")


class JobChanges(TypedDict, total=False):
    """What of a Job may change: all but what its handler said."""

    route: Route
    state: State
    since: float
    submitted: float
    granted: float | None
    ran: float | None
    first: float | None
    wait_no: int
    slot: str | None
    step: Step | None
    opened: bool
    answered: bool
    reached: tuple[str, ...]
    parts: Kept | None
    progress: Progress | None
    result: Result | None
    outcome: Outcome | None


class RouteChanges(TypedDict, total=False):
    """What of a Route may change: which weights SELECTED means."""

    backend: str
    model: str


class SlotChanges(TypedDict, total=False):
    """What of a Slot may change."""

    holder: str | None
    resident: Resident | None


class SnapshotChanges(TypedDict, total=False):
    """What of a Snapshot may change: all but the limits."""

    slots: tuple[Slot, ...]
    jobs: Mapping[str, Job]
    queue: tuple[str, ...]
    selected: Resident | None
    selected_ok: bool
    cooling: Mapping[Resident, Broken]
    mode: Mode


@overload
def evolve(value: Job, **changes: Unpack[JobChanges]) -> Job: ...
@overload
def evolve(value: Route, **changes: Unpack[RouteChanges]) -> Route: ...
@overload
def evolve(value: Slot, **changes: Unpack[SlotChanges]) -> Slot: ...
@overload
def evolve(value: Snapshot, **changes: Unpack[SnapshotChanges]) -> Snapshot: ...
@overload
def evolve(value: EventT, *, at: float) -> EventT: ...
def evolve(value: T, **changes: object) -> T:
    """A copy of `value` with `changes` applied."""
    copy = object.__new__(type(value))
    attributes = copy.__dict__
    attributes.update(value.__dict__)
    attributes.update(changes)
    return copy
