"""A modelled world around the machine: cards with their true memory, engines that die, clients, timers.

It carries out effects the way the scheduler and the runner promise to, offers the moves that
reality may make next, and asserts the laws of `laws.py` after every one of them. A move is a tuple
of words, so a trace that broke a law can be printed and replayed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from aistack.chunks import Progress, Vram
from aistack.jobs import Job, Mode, Op, Resident, Snapshot, Transition, handle
from aistack.jobs import effects as do
from aistack.jobs import events as ev
from aistack.jobs.changes import evolve
from aistack.jobs.effects import Effect  # `do` is a method's name inside World
from tests.unit.jobs import laws
from tests.unit.jobs.build import BROKEN, CHUNK, RESULT, TOO_LARGE

Move = tuple[Any, ...]


class World:
    """Everything outside the machine, and the snapshot it has arrived at.

    `ours` is what our processes truly hold on each card; `foreign` whether others hold memory
    there; `vanished` are deaths whose report is still in the inbox; `steps` the outstanding step of
    each holder; `clients` what each client has seen.
    """

    __slots__ = (
        "after",
        "cancels",
        "clients",
        "deaths",
        "foreign",
        "left",
        "now",
        "originals",
        "ours",
        "over",
        "snapshot",
        "steps",
        "timers",
        "todo",
        "vanished",
    )

    arrows: ClassVar[set[Any] | None] = None
    """Where rows led, as (column, event, column), if anybody wants to know."""

    def __init__(self, snapshot: Snapshot, todo: tuple[Job, ...] = (), deaths: int = 0) -> None:
        self.snapshot = snapshot
        self.todo = todo
        self.deaths = deaths
        self.now = 0.0
        self.ours: dict[str, Resident | None] = {s.device: s.resident for s in snapshot.slots}
        self.foreign = frozenset[str]()
        self.vanished: dict[str, Resident] = {}
        self.steps: dict[str, do.Evict | do.Load | do.Run] = {}
        self.cancels = frozenset[str]()
        self.clients: dict[str, str] = {}
        self.left = frozenset[str]()
        self.timers: frozenset[tuple[str, str, int]] = frozenset()
        self.over = frozenset[str]()
        self.originals: dict[str, Job] = {}
        self.after: Any = None

    def copy(self) -> World:
        other = object.__new__(World)
        for name in World.__slots__:
            value = getattr(self, name)
            setattr(other, name, value.copy() if type(value) is dict else value)
        return other

    # --- what reality may do next ------------------------------------------------------------------

    def moves(self) -> Iterator[Move]:
        """Every move possible now. `produce` is offered once only where it changes anything."""
        for job in self.todo:
            yield ("submit", job.id)
        for job_id, step in self.steps.items():
            if step.device not in self.vanished:
                yield from self._reports(job_id, step)
        for timer in self.timers:
            yield ("timer", *timer)
        for job_id in self.snapshot.jobs:
            if job_id not in self.left:
                yield ("gone", job_id)
        for device in self.vanished:
            yield ("vanished", device)
        if self.deaths:
            for device, held in self.ours.items():
                if held is not None and not self._busy_with_ours(device):
                    yield ("dies", device)

    def _reports(self, job_id: str, step: do.Evict | do.Load | do.Run) -> Iterator[Move]:
        match step:
            case do.Evict(side_by_side=side_by_side):
                yield ("evicted", job_id)
                if side_by_side is not None and self.ours[step.device] is not None:
                    yield ("kept", job_id)
            case do.Load():
                yield ("loaded", job_id)
                yield ("load fails", job_id, "broken")
                yield ("load fails", job_id, "too large")
            case do.Run(route=route):
                stopping = job_id in self.cancels
                own = route.vram is Vram.OWN
                if not own or self.ours[step.device] is not None:
                    yield ("produce", job_id)
                    yield ("finish", job_id)
                    yield ("fail", job_id)
                    if stopping:
                        yield ("stopped", job_id)
                if own:
                    yield ("lose", job_id)
                    if stopping:
                        yield ("killed", job_id)

    def _busy_with_ours(self, device: str) -> bool:
        """Whether the outstanding step there tells of the engine's death itself."""
        for step in self.steps.values():
            if step.device == device:
                if isinstance(step, do.Load) and step.side_by_side:
                    return False
                return not (isinstance(step, do.Run) and step.route.vram is Vram.RESERVED)
        return False

    # --- a move --------------------------------------------------------------------------------------

    def do(self, move: Move) -> World:
        """Make the move, carry out what follows, and check every law. Raises AssertionError."""
        match move:
            case ("submit", job_id):
                job = next(job for job in self.todo if job.id == job_id)
                self.todo = tuple(other for other in self.todo if other is not job)
                self.submit(job)
            case ("timer", kind, job_id, wait_no):
                self.timers -= {(kind, job_id, wait_no)}
                self.react(ev.OpenDue(job_id) if kind == "OpenDue" else ev.WaitExpired(job_id, wait_no))
            case ("gone", job_id):
                self.left |= {job_id}
                self.react(ev.ClientGone(job_id))
            case ("progress", job_id, done):
                self.react(ev.Progressed(job_id, Progress(done, 10.0, "s")))
            case ("produce", job_id):
                self.react(ev.Produced(job_id, CHUNK))
            case ("spoil", job_id):
                self.react(ev.RenderFailed(job_id, BROKEN))
            case ("dies", device):
                held = self.ours[device]
                assert held is not None
                self.ours[device], self.vanished[device] = None, held
                self.deaths -= 1
                laws.check(self)
            case ("vanished", device):
                self.react(ev.Vanished(device, self.vanished.pop(device)))
            case ("foreign", device):
                self.foreign ^= {device}
            case ("drain",):
                self.react(ev.DrainBegan())
            case ("drain expired",):
                self.react(ev.DrainExpired())
            case (word, job_id, *more):
                self.report(word, job_id, *more)
            case _:
                raise AssertionError(move)
        return self

    def submit(self, job: Job) -> None:
        self.originals[job.id] = job
        self.clients[job.id] = "waiting"
        self.react(ev.Submitted(job))

    def report(self, word: str, job_id: str, why: str = "broken") -> None:
        """The one report of the job's outstanding step: memory changes first, then it is told."""
        step = self.steps.pop(job_id)
        fault = TOO_LARGE if why == "too large" else BROKEN
        event: ev.Event
        match word:
            case "evicted":
                assert isinstance(step, do.Evict)
                self.ours[step.device] = None
                if step.everything:
                    self.foreign -= {step.device}
                event = ev.Evicted(job_id)
            case "kept":
                assert isinstance(step, do.Evict)
                self.foreign -= {step.device}
                event = ev.Evicted(job_id, kept=True)
            case "loaded":
                assert isinstance(step, do.Load)
                self.ours[step.device] = step.resident
                event = ev.Loaded(job_id)
            case "finish":
                event = ev.Finished(job_id, RESULT)
            case "fail":
                event = ev.Failed(job_id, fault)
            case "load fails" if isinstance(step, do.Load) and step.side_by_side:
                event = ev.Failed(job_id, fault)
            case "lose" | "load fails":
                self.ours[step.device] = None
                event = ev.Failed(job_id, fault, lost=True)
            case "stopped":
                event = ev.Stopped(job_id)
            case "killed":
                self.ours[step.device] = None
                event = ev.Stopped(job_id, lost=True)
            case _:
                raise ValueError(word)
        self.react(event, step)

    def react(self, event: ev.Event, reported: Any = None) -> None:
        """Hand the event in and carry out the reaction; `reported` is the step that it ends."""
        event = evolve(event, at=self.now)
        before = self.snapshot
        reaction = handle(before, event)
        laws.check_transitions(before, reaction)
        if self.arrows is not None:
            self.arrows.update(laws.arrows(before, event, reaction))
        self.snapshot = reaction.snapshot
        self.after = (event, reported)
        for transition in reaction.transitions:
            self.observe(transition)
        outcomes = {
            t.job.id: t.job.outcome for t in reaction.transitions if t.job.id not in self.snapshot.jobs
        }
        for effect in reaction.effects:
            self.perform(effect, outcomes)
        self.after = None
        laws.check(self)

    def observe(self, transition: Transition) -> None:
        """For those who want to read the log."""

    # --- effects -------------------------------------------------------------------------------------

    def perform(self, effect: Effect, outcomes: dict[str, Any]) -> None:
        """Do what the scheduler would, after checking that it may be asked for now."""
        job_id = effect.job_id
        assert job_id not in self.over, f"{effect} after Discard"
        match effect:
            case do.Evict() | do.Load() | do.Run():
                laws.check_step(self, effect)
                self.steps[job_id] = effect
                if isinstance(effect, do.Run) and effect.route.vram is Vram.EXTERNAL:
                    self.foreign |= {effect.device}
            case do.Cancel():
                assert job_id in self.steps, "Cancel without a step"
                assert job_id not in self.cancels, "Cancel twice"
                self.cancels |= {job_id}
            case do.SetTimer(event=event, seconds=seconds):
                laws.check_timer(self, event, seconds)
                wait_no = event.wait_no if isinstance(event, ev.WaitExpired) else 0
                timer = (type(event).__name__, job_id, wait_no)
                assert timer not in self.timers, "a timer set twice"
                self.timers |= {timer}
            case do.Discard():
                assert job_id not in self.steps, "discarded with a step outstanding"
                assert job_id not in self.snapshot.jobs, "discarded while in the book"
                laws.check_ending(self, job_id, outcomes[job_id])
                self.over |= {job_id}
                self.timers = frozenset(t for t in self.timers if t[1] != job_id)
            case _:
                self.clients[job_id] = laws.next_view(self, effect)

    # --- for searches --------------------------------------------------------------------------------

    def key(self) -> Any:
        """This state without its history: two worlds with one key behave alike."""
        s = self.snapshot
        jobs = tuple(
            (
                job.id,
                job.state,
                job.slot,
                job.step,
                job.opened,
                job.answered,
                bool(job.parts),
                job.reached,
                job.wait_no,
                job.route.model,
                job.outcome and job.outcome.kind,
            )
            for job in s.jobs.values()
        )
        return (
            jobs,
            tuple((slot.holder, slot.resident) for slot in s.slots),
            s.queue,
            s.selected,
            s.selected_ok,
            tuple((held, broken.failures) for held, broken in s.cooling.items()),
            s.mode,
            tuple(job.id for job in self.todo),
            tuple(self.ours.values()),
            tuple(self.vanished.items()),
            tuple((job_id, type(step), step.device) for job_id, step in self.steps.items()),
            self.cancels - self.over,
            tuple(view for job_id, view in self.clients.items() if job_id in s.jobs),
            self.left - self.over,
            self.timers,
            self.deaths,
        )

    @property
    def idle(self) -> bool:
        """Whether nothing is left to happen by itself."""
        return not self.steps and not self.timers and not self.vanished

    @property
    def draining(self) -> bool:
        return self.snapshot.mode is Mode.DRAINING

    def selects(self, job_id: str) -> bool:
        """Whether the job was submitted for whichever weights are selected."""
        return self.originals[job_id].op is Op.GENERATE
