"""Events are handled where they are posted: in one order, in the scheduler's own context, in turns."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pytest

from aistack.chunks import Vram
from aistack.contract.relay_request import SocketCall
from aistack.errors import internal
from aistack.ids import job_id
from aistack.jobs import Job, Op, Route, Slot, Snapshot, Transition
from aistack.jobs import events as ev
from aistack.run.scheduler import TURNS, Scheduler
from tests.doubles.relay import ScriptedCall
from tests.unit.run.conftest import BOUND_S, PlainStream

pytestmark = pytest.mark.both_loops

WHO = contextvars.ContextVar("who", default="nobody")


class Steps:
    """Takes every step and ends none; notes in whose context it was asked."""

    def __init__(self) -> None:
        self.started: list[str] = []

    def start(self, effect: Any) -> None:
        self.started.append(WHO.get())

    def cancel(self, job: str) -> None:
        pass


def chat() -> Job:
    route = Route("fake-relay", "m", Vram.EXTERNAL, "cpu")
    request = SocketCall("/")
    return Job(id=job_id(), request_id="r", op=Op.CHAT, route=route, request=request, wire=PlainStream())


async def begun(scheduler: Scheduler) -> asyncio.Task[None]:
    task = asyncio.create_task(scheduler.run())
    await asyncio.wait_for(scheduler.quiet(), BOUND_S)
    await asyncio.sleep(0)  # the task stands at its inbox
    return task


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task], timeout=BOUND_S)


async def test_what_an_event_starts_does_not_inherit_its_posters_context() -> None:
    scheduler, steps = Scheduler(Snapshot((Slot("cpu"),))), Steps()
    scheduler.steps = steps
    task = await begun(scheduler)
    token = WHO.set("the handler of some request")
    scheduler.submit(chat())
    WHO.reset(token)
    assert steps.started == ["nobody"], "at once, and in the scheduler's own context"
    await ended(task)


async def test_an_event_posted_while_another_is_handled_comes_after_it() -> None:
    seen: list[tuple[str, str]] = []
    second = chat()

    def observe(transition: Transition) -> None:
        if not seen:
            scheduler.submit(second)
            seen.append(("submitted", second.id))
        seen.append((transition.target.value, transition.job.id))

    scheduler = Scheduler(Snapshot((Slot("cpu"),)), [observe])
    scheduler.steps = Steps()
    task = await begun(scheduler)
    first = chat()
    scheduler.submit(first)
    assert seen == [("submitted", second.id), ("running", first.id), ("done", second.id)]
    scheduler.post(ev.Failed(first.id, internal()))
    assert not scheduler.snapshot.jobs
    await ended(task)


async def test_the_loop_has_its_turn_and_the_order_stays() -> None:
    done: list[str] = []

    def observe(transition: Transition) -> None:
        if transition.target.value == "done":
            done.append(transition.job.id)

    scheduler = Scheduler(Snapshot((Slot("cpu"),)), [observe])
    scheduler.steps = Steps()
    task = await begun(scheduler)
    holder = chat()
    scheduler.submit(holder)
    refused = [chat() for _ in range(4 * TURNS)]
    for job in refused:
        scheduler.submit(job)
    assert len(done) <= TURNS, "no more than a turn at once"
    scheduler.post(ev.Failed(holder.id, internal()))
    await asyncio.wait_for(scheduler.quiet(), BOUND_S)
    assert done == [*(job.id for job in refused), holder.id]
    await ended(task)


async def test_a_bug_ends_the_task_not_the_poster(monkeypatch: Any) -> None:
    scheduler = Scheduler(Snapshot((Slot("cpu"),)))
    scheduler.steps = Steps()
    task = await begun(scheduler)

    def bug(event: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(scheduler, "_handle", bug)
    outlet = scheduler.submit(chat())
    await asyncio.wait([task], timeout=BOUND_S)
    assert isinstance(task.exception(), ZeroDivisionError)
    assert repr(scheduler).startswith("<Scheduler broken by ZeroDivisionError()")
    assert len(await asyncio.wait_for(outlet.collect(), BOUND_S)) == 1


async def test_it_says_where_it_stands() -> None:
    scheduler = Scheduler(Snapshot((Slot("cuda:0"), Slot("cuda:1"))))
    scheduler.steps = Steps()
    assert repr(scheduler) == (
        "<Scheduler not begun, serving; 0 events in the inbox; 0 jobs, 0 queued; "
        "cuda:0: free; cuda:1: free>"
    )
    task = await begun(scheduler)
    route = Route("fake-relay", "m", Vram.EXTERNAL, "cuda:1")
    request = ScriptedCall("POST", "/")
    scheduler.submit(
        Job(id="j1", request_id="r", op=Op.CHAT, route=route, request=request, wire=PlainStream())
    )
    scheduler.submit(
        Job(
            id="j2",
            request_id="r",
            op=Op.CHAT,
            route=route,
            request=request,
            wire=PlainStream(),
            max_wait_s=60,
        )
    )
    assert repr(scheduler) == (
        "<Scheduler caught up, serving; 0 events in the inbox; 2 jobs, 1 queued; "
        "cuda:0: free; cuda:1: j1 (chat, running)>"
    )
    await ended(task)
    assert repr(scheduler).startswith("<Scheduler ended")
