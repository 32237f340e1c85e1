"""The table is total, and every cell does what the specification's grid says.

The grid below is that of the design, word for word in its meaning: effects in order, then the
column. `x` is a refusal, followed by the letter of its reason.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import get_args

import pytest

from aistack import jobs
from aistack.chunks import Progress
from aistack.jobs import IllegalTransition, Job, Mode, Phase, Snapshot, State, handle
from aistack.jobs import events as ev
from aistack.jobs.changes import evolve
from aistack.jobs.effects import AbortStream
from aistack.jobs.model import Resident
from aistack.jobs.states import Step
from aistack.jobs.table import TABLE, Refusal, Row
from tests.unit.jobs import build as b

REASONS = {
    "a": "preparation is over before a job runs",
    "b": "nothing runs before its model is ready",
    "c": "a step is told to stop only after its job was cancelled",
    "d": "its one step had already reported",
    "e": "a queued job has no step",
    "f": "the queue was emptied when the drain began",
    "g": "a queued job has nothing that could fail to render",
}

GRID = """
             | WAITING             | PREPARING                   | RUNNING                                     | STREAMING                                  | CANCELLED      | DONE
Evicted      | x e                 | Load > PREPARING            | x a                                         | x a                                        | Discard > DONE | x d
Loaded       | x e                 | Run > RUNNING               | x a                                         | x a                                        | Discard > DONE | x d
Progressed   | x e                 | > PREPARING                 | > RUNNING                                   | > STREAMING                                | > CANCELLED    | x d
Produced     | x e                 | x b                         | OpenStream Emit > STREAMING                 | Emit > STREAMING                           | > CANCELLED    | x d
Finished     | x e                 | x b                         | OpenStream Emit CloseStream Discard > DONE  | Emit CloseStream Discard > DONE            | Discard > DONE | x d
Failed       | x e                 | Respond Discard > DONE      | Respond Discard > DONE                      | Emit CloseStream Discard > DONE            | Discard > DONE | x d
Stopped      | x e                 | x c                         | x c                                         | x c                                        | Discard > DONE | x d
RenderFailed      | x g                 | Respond Cancel > CANCELLED  | Respond Cancel > CANCELLED                  | Emit CloseStream Cancel > CANCELLED        | > CANCELLED    | x d
ClientGone   | Discard > DONE      | Cancel > CANCELLED          | Cancel > CANCELLED                          | Cancel > CANCELLED                         | > CANCELLED    | > DONE
WaitExpired  | Respond Discard > DONE | > PREPARING              | > RUNNING                                   | > STREAMING                                | > CANCELLED    | > DONE
OpenDue      | > WAITING           | OpenStream > PREPARING      | OpenStream > STREAMING                      | > STREAMING                                | > CANCELLED    | > DONE
DrainBegan   | Respond Discard > DONE | > PREPARING              | > RUNNING                                   | > STREAMING                                | > CANCELLED    | > DONE
DrainExpired | x f                 | Respond Cancel > CANCELLED  | Respond Cancel > CANCELLED                  | Emit CloseStream Cancel > CANCELLED        | > CANCELLED    | > DONE
"""  # noqa: E501 - a grid

EVENTS: dict[str, ev.Event] = {
    "Evicted": ev.Evicted("j"),
    "Loaded": ev.Loaded("j"),
    "Progressed": ev.Progressed("j", Progress(1, 4, "s")),
    "Produced": ev.Produced("j", b.CHUNK),
    "Finished": ev.Finished("j", b.RESULT),
    "Failed": ev.Failed("j", b.BROKEN),
    "Stopped": ev.Stopped("j"),
    "RenderFailed": ev.RenderFailed("j", b.BROKEN),
    "ClientGone": ev.ClientGone("j"),
    "WaitExpired": ev.WaitExpired("j", 1),
    "OpenDue": ev.OpenDue("j"),
    "DrainBegan": ev.DrainBegan(),
    "DrainExpired": ev.DrainExpired(),
}


def cells() -> list[tuple[str, Phase, str]]:
    head, *rows = [[cell.strip() for cell in line.split("|")] for line in GRID.strip("\n").splitlines()]
    columns = [Phase[name] for name in head[1:]]
    return [(row[0], phase, cell) for row in rows for phase, cell in zip(columns, row[1:], strict=True)]


def placed(phase: Phase, event: str = "", wire: b.FakeWire = b.STREAM) -> Snapshot:
    """A service with the streaming transcription `j` in `phase`, its step the one `event` reports."""
    step = {"Evicted": Step.EVICT, "Loaded": Step.LOAD}.get(event, Step.RUN)
    preparing = step if step is not Step.RUN else Step.LOAD
    job = evolve(b.listen("j", wire=wire, max_wait_s=9.0), wait_no=1)
    holder = evolve(job, slot="gpu0", granted=1.0)
    empty = b.service(None)
    held = b.service(b.WHISPER)
    match phase:
        case Phase.WAITING:
            other = evolve(b.listen("other"), state=State.RUNNING, step=Step.RUN, slot="gpu0")
            return b.with_job(b.with_job(held, other), job)
        case Phase.PREPARING:
            return b.with_job(empty, evolve(holder, step=preparing))
        case Phase.RUNNING:
            return b.with_job(held, evolve(holder, state=State.RUNNING, step=Step.RUN, ran=1.0))
        case Phase.STREAMING:
            opened = evolve(holder, state=State.STREAMING, step=Step.RUN, opened=True, ran=1.0)
            return b.with_job(held, opened)
        case Phase.CANCELLED:
            return b.with_job(held, evolve(holder, state=State.CANCELLED, step=step))
        case Phase.DONE:
            return held


def column_of(snapshot: Snapshot, job_id: str = "j") -> Phase:
    job = snapshot.jobs.get(job_id)
    return Phase.DONE if job is None else job.phase


def test_the_table_is_total() -> None:
    wanted = {*get_args(ev.JobEvent), ev.DrainBegan, ev.DrainExpired}
    assert set(TABLE) == set(Phase)
    for phase, row in TABLE.items():
        assert set(row) == wanted, phase


def test_the_grid_has_every_cell_of_the_table() -> None:
    named = {(phase, event) for event, phase, _ in cells()}
    assert named == {(phase, event.__name__) for phase, row in TABLE.items() for event in row}


@pytest.mark.parametrize(("event", "phase", "cell"), [c for c in cells() if not c[2].startswith("x")])
def test_a_row_does_what_the_grid_says(event: str, phase: Phase, cell: str) -> None:
    effects, _, target = cell.partition(">")
    before = placed(phase, event)
    reaction = handle(before, EVENTS[event])
    about_j = [type(e).__name__ for e in reaction.effects if e.job_id == "j"]
    assert about_j == effects.split()
    assert column_of(reaction.snapshot) is Phase[target.strip()]
    assert isinstance(TABLE[phase][type(EVENTS[event])], Row)


@pytest.mark.parametrize(("event", "phase", "cell"), [c for c in cells() if c[2].startswith("x")])
def test_a_refusal_raises_with_its_reason(event: str, phase: Phase, cell: str) -> None:
    before = placed(phase, event)
    if event == "DrainExpired":
        before = evolve(before, mode=Mode.DRAINING)
    because = REASONS[cell.split()[1]]
    with pytest.raises(IllegalTransition) as refused:
        handle(before, EVENTS[event])
    assert refused.value.because == because
    assert refused.value.phase is phase
    assert refused.value.event is EVENTS[event]
    story = str(refused.value)
    assert story.startswith(f"{event} for job j in {phase.value}: {because}")
    assert ("op transcribe" in story) == (phase is not Phase.DONE)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ("Produced", [[], Phase.RUNNING]),
        ("Finished", [["Respond", "Discard"], Phase.DONE]),
        ("Failed", [["Respond", "Discard"], Phase.DONE]),
        ("RenderFailed", [["Respond", "Cancel"], Phase.CANCELLED]),
        ("ClientGone", [["Cancel"], Phase.CANCELLED]),
        ("DrainExpired", [["Respond", "Cancel"], Phase.CANCELLED]),
    ],
)
def test_running_with_a_whole_answer(event: str, expected: list[object]) -> None:
    reaction = handle(placed(Phase.RUNNING, event, b.WHOLE), EVENTS[event])
    assert [[type(e).__name__ for e in reaction.effects], column_of(reaction.snapshot)] == expected


@pytest.mark.parametrize("phase", [Phase.PREPARING, Phase.RUNNING])
@pytest.mark.parametrize("event", ["Failed", "RenderFailed", "DrainExpired"])
def test_an_opened_stream_is_told_in_band(phase: Phase, event: str) -> None:
    before = placed(phase, event)
    opened = evolve(before.jobs["j"], opened=True)
    reaction = handle(evolve(before, jobs={"j": opened}), EVENTS[event])
    names = [type(e).__name__ for e in reaction.effects]
    assert names[:2] == ["Emit", "CloseStream"] and "Respond" not in names


@pytest.mark.parametrize("event", ["Failed", "RenderFailed", "DrainExpired"])
def test_a_format_without_an_error_frame_is_cut(event: str) -> None:
    reaction = handle(placed(Phase.STREAMING, event, b.RELAYED), EVENTS[event])
    assert isinstance(reaction.effects[0], AbortStream)


def test_a_loaded_model_starts_as_streaming_when_headers_are_out() -> None:
    before = placed(Phase.PREPARING, "Loaded")
    opened = evolve(before.jobs["j"], opened=True)
    reaction = handle(evolve(before, jobs={"j": opened}), EVENTS["Loaded"])
    assert column_of(reaction.snapshot) is Phase.STREAMING


def test_frames_that_do_not_show_are_not_sent() -> None:
    silent = b.FakeStream(shows=False)
    opened = handle(placed(Phase.RUNNING, wire=silent), EVENTS["Produced"])
    assert [type(e).__name__ for e in opened.effects] == ["OpenStream"]
    assert not handle(placed(Phase.STREAMING, wire=silent), EVENTS["Produced"]).effects
    closed = handle(placed(Phase.STREAMING, wire=silent), EVENTS["Finished"])
    assert [type(e).__name__ for e in closed.effects] == ["CloseStream", "Discard"]
    at_once = handle(placed(Phase.RUNNING, wire=silent), EVENTS["Finished"])
    assert [type(e).__name__ for e in at_once.effects] == ["OpenStream", "CloseStream", "Discard"]


def test_a_row_that_leads_where_it_does_not_say_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    row = TABLE[Phase.RUNNING][ev.Finished]
    assert isinstance(row, Row)
    astray = {**TABLE[Phase.RUNNING], ev.Finished: Row(row.do, (Phase.RUNNING,))}
    monkeypatch.setitem(TABLE, Phase.RUNNING, astray)
    with pytest.raises(IllegalTransition, match="the row led to done"):
        handle(placed(Phase.RUNNING), EVENTS["Finished"])


def test_the_world_given_is_never_changed() -> None:
    for event, phase, cell in cells():
        before = placed(phase, event)
        kept = (dict(before.jobs), before.slots, before.queue, dict(before.cooling))
        if not cell.startswith("x"):
            handle(before, EVENTS[event])
        assert (dict(before.jobs), before.slots, before.queue, dict(before.cooling)) == kept


def test_every_row_and_every_refusal_has_its_sentence() -> None:
    for row in TABLE.values():
        for cell in row.values():
            said = cell.because if isinstance(cell, Refusal) else cell.summary
            assert len(said) > 10 and "\n" not in said
            assert isinstance(cell, Refusal) or said.endswith(".")


def test_every_public_name_has_a_docstring() -> None:
    for found in pkgutil.iter_modules(jobs.__path__):
        module = importlib.import_module(f"{jobs.__name__}.{found.name}")
        assert module.__doc__
        for name, thing in vars(module).items():
            ours = getattr(thing, "__module__", "") == module.__name__
            if ours and callable(thing) and not name.startswith("_"):
                assert thing.__doc__, f"{module.__name__}.{name}"


def test_a_resident_names_what_a_route_wants() -> None:
    job: Job = b.listen("a", b.PARAKEET)
    assert job.route.resident == Resident("parakeet", "parakeet")
