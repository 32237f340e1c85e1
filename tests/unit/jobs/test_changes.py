"""What may be changed of a value is typed: the TypedDicts beside `evolve` say what the classes say."""

from __future__ import annotations

from typing import Any, get_type_hints

import attrs
import pytest

from aistack.jobs import Job, Route, Slot, Snapshot
from aistack.jobs import changes as module
from aistack.jobs import events as ev
from aistack.jobs.changes import JobChanges, RouteChanges, SlotChanges, SnapshotChanges, evolve
from tests.unit.jobs import build as b

FIXED: dict[type[Any], set[str]] = {
    Job: {"id", "request_id", "op", "request", "wire", "max_wait_s", "context"},
    Route: {"vram", "device"},
    Slot: {"device"},
    Snapshot: {"limits"},
}
"""The fields that the machine never changes."""


@pytest.mark.parametrize(
    ("kind", "changes"),
    [(Job, JobChanges), (Route, RouteChanges), (Slot, SlotChanges), (Snapshot, SnapshotChanges)],
)
def test_what_may_change_is_every_other_field_with_its_type(kind: Any, changes: type[Any]) -> None:
    fields = {field.name for field in attrs.fields(kind)}
    assert fields >= FIXED[kind]
    wanted = {
        name: hint
        for name, hint in get_type_hints(kind).items()
        if name in fields and name not in FIXED[kind]
    }
    assert get_type_hints(changes, vars(module)) == wanted


def test_a_changed_copy_leaves_the_value_as_it_was() -> None:
    before = b.listen("a")
    after = evolve(before, slot="gpu0")
    assert (before.slot, after.slot) == (None, "gpu0")
    assert after == attrs.evolve(before, slot="gpu0") and type(after) is Job
    assert evolve(ev.ClientGone("a"), at=3.0) == ev.ClientGone("a", at=3.0)


def test_a_job_shows_itself_in_one_line() -> None:
    job = b.listen("t")
    assert repr(job) == "<Job t transcribe waiting>"
    assert repr(evolve(job, slot="gpu0")) == "<Job t transcribe preparing on gpu0>"
