"""The central task: events in, `handle`, log, perform. Nobody else decides anything.

`perform` never awaits: what takes time goes to the runner and comes back as another event. An event
is handled where it is posted, unless another is being handled just then, or so many were that the loop
must have a turn first; then the task takes it. Either way there is one order of events. If the task ends
by an exception the service must end too (see `app.py`): a gateway whose scheduler is dead would hold its
slot for ever.
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
    """Owns the snapshot, the inbox, the outlets and the timers."""

    def __init__(
        self, snapshot: Snapshot, observers: Iterable[Observer] = (), slow_s: float = SLOW_S
    ) -> None:
        """`slow_s`: so long may a relay wait for its client, in all."""
        self.snapshot = snapshot
        self._slow_s = slow_s
        self.observers = list(observers)
        self.steps: Steps | None = None
        self._inbox: deque[ev.Event] = deque()
        self._some = asyncio.Event()
        self._handled = asyncio.Event()
        self._handled.set()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._outlets: dict[str, Outlet] = {}
        self._discards: dict[str, Callable[[], None]] = {}
        self._timers: dict[str, list[asyncio.TimerHandle]] = {}
        self._closed = False
        self._own: contextvars.Context | None = None
        """Where posted events are handled: what they start must not inherit the poster's request id."""
        self._handling = False
        self._left = TURNS
        self._broken: BaseException | None = None

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
        """Hand an event in; nobody listens once the scheduler has ended."""
        if self._closed:
            return
        self._inbox.append(event)
        if self._own is not None and not self._handling and not self._some.is_set():
            self._own.run(self._at_once)
        if self._inbox and not self._handling:
            self._handled.clear()
            self._quiet.clear()
            self._some.set()

    async def ready(self, job_id: str) -> None:
        """Wait until all that was posted is handled and the job's client has caught up.

        Both are needed: pieces still in the inbox are in no outlet's window yet. Raises TimeoutError
        once the client has kept its relay waiting too long in all.
        """
        await self._handled.wait()
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
        self._own = contextvars.copy_context()
        try:
            while True:
                self._left = TURNS
                self._own.run(self._at_once)
                if self._broken is not None:
                    raise self._broken
                if self._inbox:
                    await asyncio.sleep(0)
                    continue
                self._handled.set()
                self._some.clear()
                await self._some.wait()
        finally:
            self._closed = True
            self._abandon()

    def _at_once(self) -> None:
        """Handle what is in the inbox, as far as the loop's turn allows."""
        self._handling = True
        try:
            while self._inbox and self._left:
                self._left -= 1
                self._turn(self._inbox.popleft())
        except BaseException as exc:  # noqa: BLE001 - whoever posted is not to blame: the task ends by it
            self._broken = exc
            self._some.set()
        finally:
            self._handling = False
        if self.snapshot.jobs or self._inbox:
            self._quiet.clear()
        else:
            self._quiet.set()

    def _turn(self, event: ev.Event) -> None:
        """One event: decide, commit, tell, perform."""
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
        """What `handle` says; after an exception, what it says to the event that stands in for it."""
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
        self._handled.set()
        self._quiet.set()
