"""The central task: events in, `handle`, log, perform. Nobody else decides anything.

`perform` never awaits: what takes time goes to the runner and comes back as another event.

An event is handled where it is posted, in the poster's stack, with three exceptions: another event is
being handled just then, so many were that the loop must have a turn first, or the task has not begun.
Then the task takes it. Either way there is one order of events. If the task ends by an exception the
service must end too (see `service/app.py`): a gateway whose scheduler is dead would hold its slot
forever.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol, assert_never

import structlog

from aistack import errors
from aistack.jobs import events as ev
from aistack.jobs.changes import evolve
from aistack.jobs.effects import (
    AbortStream,
    Cancel,
    CloseStream,
    Discard,
    Effect,
    Emit,
    Evict,
    Load,
    OpenStream,
    Reply,
    Respond,
    Run,
    SetTimer,
    noop,
)
from aistack.jobs.machine import handle, recovery
from aistack.jobs.model import Job, Snapshot, Transition
from aistack.jobs.reaction import Reaction
from aistack.run.outlet import SLOW_S, Outlet
from aistack.wire.base import refusal

log = structlog.get_logger("aistack.scheduler")

Observer = Callable[[Transition], None]
TURNS = 64
"""Events handled before the loop gets a turn."""


class Steps(Protocol):
    """What the scheduler needs of a runner. Neither call raises or waits."""

    def start(self, effect: Evict | Load | Run) -> None: ...

    def cancel(self, job_id: str) -> None: ...


class Scheduler:
    """Owns the snapshot, the inbox, the outlets and the timers.

    All of it changes on the loop only, in `post` and in the task that runs `run`.
    """

    def __init__(
        self, snapshot: Snapshot, observers: Iterable[Observer] = (), slow_s: float = SLOW_S
    ) -> None:
        """`snapshot` is where it begins; `observers` are called with every transition; `slow_s` is the
        longest total time a relay may be held back by its client."""
        self.snapshot = snapshot
        self._slow_s = slow_s
        self.observers = list(observers)
        self.steps: Steps | None = None
        self._inbox: deque[ev.Event] = deque()
        self._outlets: dict[str, Outlet] = {}
        self._discards: dict[str, Callable[[], None]] = {}
        self._timers: dict[str, list[asyncio.TimerHandle]] = {}
        self._behind = asyncio.Event()
        """It is for the task to go on: the inbox holds what its poster could not handle."""
        self._caught_up = asyncio.Event()
        """The opposite of `_behind`, for those who wait for that."""
        self._caught_up.set()
        self._quiet = asyncio.Event()
        """Inbox and book are empty."""
        self._quiet.set()
        self._handling = False
        """An event is being handled: one that is posted meanwhile comes after it."""
        self._turns_left = TURNS
        """Events that may be handled before the loop gets a turn; the task renews it."""
        self._failure: BaseException | None = None
        """What ended the handling of an event. The task raises it, not the poster."""
        self._context: contextvars.Context | None = None
        """Where events are handled: what they start must not inherit the poster's request id. None
        until the task has begun."""
        self._closed = False
        """The task has ended: events are ignored."""

    def __repr__(self) -> str:
        """For a bug report: whether it works, what waits, and who holds which slot."""
        if self._failure is not None:
            state = f"broken by {self._failure!r}"
        elif self._closed:
            state = "ended"
        elif self._context is None:
            state = "not begun"
        else:
            state = "behind" if self._behind.is_set() else "caught up"
        known = self.snapshot
        slots = []
        for slot in known.slots:
            job = known.jobs.get(slot.holder) if slot.holder is not None else None
            held = "free" if job is None else f"{job.id} ({job.op.value}, {job.phase.value})"
            slots.append(f"{slot.device}: {held}")
        return (
            f"<Scheduler {state}, {known.mode.value}; {len(self._inbox)} events in the inbox; "
            f"{len(known.jobs)} jobs, {len(known.queue)} queued; {'; '.join(slots)}>"
        )

    # --- what others call ----------------------------------------------------------------------------

    def submit(self, job: Job, discard: Callable[[], None] = noop) -> Outlet:
        """Ask for a job to be done; `discard` is called exactly once when it is over."""
        outlet = Outlet(slow_s=self._slow_s)
        if self._closed:
            outlet.put(Respond(job.id, refusal(errors.shutting_down())))
            discard()
            return outlet
        self._outlets[job.id] = outlet
        self._discards[job.id] = discard
        self.post(ev.Submitted(job))
        return outlet

    def post(self, event: ev.Event) -> None:
        """Hand an event in. It is handled before this returns, unless the task has to take it: do not
        call it in the middle of a change of your own. Ignored once the scheduler has ended."""
        if self._closed:
            return
        self._inbox.append(event)
        if self._context is not None and not self._handling and not self._behind.is_set():
            self._context.run(self._handle_inbox)
        if self._inbox and not self._handling:
            self._fall_behind()

    async def ready(self, job_id: str) -> None:
        """Wait until all that was posted is handled and the job's client has caught up.

        Both are needed: pieces still in the inbox are in no outlet's window yet. Raises TimeoutError
        once the client has kept its relay waiting too long in all.
        """
        await self._caught_up.wait()
        outlet = self._outlets.get(job_id)
        if outlet is not None:
            await outlet.ready()

    async def quiet(self) -> None:
        """Wait until the inbox and the book are empty."""
        await self._quiet.wait()

    async def drain(self, grace_s: float, stop_s: float = 10.0) -> None:
        """Refuse new jobs, let the running ones finish for `grace_s`, then stop them; bounded."""
        self.post(ev.DrainBegan())
        try:
            await asyncio.wait_for(self._quiet.wait(), grace_s)
        except TimeoutError:
            self.post(ev.DrainExpired())
            try:
                await asyncio.wait_for(self._quiet.wait(), stop_s)
            except TimeoutError:
                log.error("jobs did not stop in time", jobs=len(self.snapshot.jobs))

    # --- the task -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Handle events until cancelled. Any other end is a bug and must end the process."""
        self._context = contextvars.copy_context()
        try:
            while True:
                self._turns_left = TURNS
                self._context.run(self._handle_inbox)
                if self._failure is not None:
                    raise self._failure
                if self._inbox:
                    await asyncio.sleep(0)
                    continue
                self._behind.clear()
                self._caught_up.set()
                await self._behind.wait()
        finally:
            self._closed = True
            self._abandon()

    def _fall_behind(self) -> None:
        """Wake the task."""
        self._caught_up.clear()
        self._quiet.clear()
        self._behind.set()

    def _handle_inbox(self) -> None:
        """Handle what is in the inbox, as far as the loop's turn allows."""
        self._handling = True
        try:
            while self._inbox and self._turns_left:
                self._turns_left -= 1
                self._handle(self._inbox.popleft())
        except BaseException as exc:  # noqa: BLE001 - the poster is not to blame: the task ends by it
            self._failure = exc
            self._fall_behind()
        finally:
            self._handling = False
        if self.snapshot.jobs or self._inbox:
            self._quiet.clear()
        else:
            self._quiet.set()

    def _handle(self, event: ev.Event) -> None:
        """One event: decide, commit, observe, perform."""
        event = evolve(event, at=asyncio.get_running_loop().time())
        reaction = self._react(event)
        if reaction is None:
            return
        self.snapshot = reaction.snapshot
        for transition in reaction.transitions:
            for observer in self.observers:
                try:
                    observer(transition)
                except Exception:
                    log.exception("observer failed")
        for effect in reaction.effects:
            self.perform(effect)

    def _react(self, event: ev.Event) -> Reaction | None:
        """What `handle` decides; after an exception, what it decides for the event that replaces it."""
        try:
            return handle(self.snapshot, event)
        except Exception:
            log.exception(
                "event could not be handled",
                event_name=type(event).__name__,
                job_id=event.job_id if isinstance(event, ev.EventOfJob) else None,
            )
        if isinstance(event, ev.Submitted):
            self.perform(Respond(event.job.id, refusal(errors.internal())))
            self.perform(Discard(event.job.id))
            return None
        instead = recovery(self.snapshot, event)
        return handle(self.snapshot, instead) if instead is not None else None

    def perform(self, effect: Effect) -> None:
        """Carry one effect out. The only place that does."""
        match effect:
            case Evict() | Load() | Run():
                assert self.steps is not None
                self.steps.start(effect)
            case Cancel():
                assert self.steps is not None
                self.steps.cancel(effect.job_id)
            case Respond() | OpenStream() | Emit() | CloseStream() | AbortStream():
                self._reply(effect)
            case SetTimer():
                # The timer's callback handles the event itself, as every poster does.
                loop = asyncio.get_running_loop()
                timer = loop.call_later(effect.seconds, self.post, effect.event)
                self._timers.setdefault(effect.job_id, []).append(timer)
            case Discard():
                self._forget(effect.job_id)
            case _:
                assert_never(effect)

    def _reply(self, effect: Reply) -> None:
        outlet = self._outlets.get(effect.job_id)
        if outlet is not None:
            outlet.put(effect)

    def _forget(self, job_id: str) -> None:
        """Drop what the job owned; its outlet lives until its reader has drained it."""
        for timer in self._timers.pop(job_id, ()):
            timer.cancel()
        self._outlets.pop(job_id, None)
        discard = self._discards.pop(job_id, noop)
        try:
            discard()
        except OSError:
            log.exception("could not discard what the job owned", job_id=job_id)

    def _abandon(self) -> None:
        """The scheduler is over: nobody may wait for an answer that will not come."""
        for job_id, outlet in list(self._outlets.items()):
            job = self.snapshot.jobs.get(job_id)
            opened = job is not None and job.opened
            outlet.put(
                AbortStream(job_id) if opened else Respond(job_id, refusal(errors.shutting_down()))
            )
            self._forget(job_id)
        self._caught_up.set()
        self._quiet.set()
