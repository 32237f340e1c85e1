"""What the transitions of jobs add up to: counts and times for /metrics. Pure.

An observer of the scheduler; O(1) per transition, and most transitions cost one lookup. Times are
the machine's own stamps, in seconds.
"""

from __future__ import annotations

from aistack.chunks import Generated, Transcript
from aistack.jobs.model import Job, Transition
from aistack.jobs.states import Op, OutcomeKind, Phase, Step
from aistack.observe.counts import RATIOS, Counter, Histogram, ModelNames
from aistack.observe.intervals import Interval, Intervals, step_of
from aistack.observe.toggles import Toggles


class JobFigures:
    """Counts of everything that became a job. Frozen while the switch `metrics` is off."""

    def __init__(self, toggles: Toggles, engines: frozenset[str] = frozenset()) -> None:
        """`engines` are the names of our own backends, whose model names routing has resolved."""
        self._toggles = toggles
        self._engines = engines
        self._steps = Intervals(step_of)
        self.names = ModelNames()
        self.jobs = Counter()
        self.wait = Histogram()
        self.prepare = Histogram()
        self.first_byte = Histogram()
        self.run = Histogram()
        self.slot = Histogram()
        self.audio = Counter()
        self.rtf = Histogram(RATIOS)
        self.upload = Counter()
        self.loads = Counter()
        self.load = Histogram()
        self.evict = Histogram()
        self.swaps = Counter()
        self.swap = Histogram()
        self.inference = Histogram()

    def observe(self, transition: Transition) -> None:
        """The scheduler's observer."""
        step = self._steps.observe(transition)
        if step is not None and self._toggles.metrics:
            self._stepped(step, transition.job)
        if transition.target is Phase.DONE and self._toggles.metrics:
            self._done(transition.job, transition.at)

    def _stepped(self, step: Interval[Step], job: Job) -> None:
        seconds = step.end - step.start
        if step.of is Step.LOAD:
            model = self._model(job)
            self.loads.add((model, "ok" if step.report == "Loaded" else "failed"))
            self.load.add((model,), seconds)
        elif step.of is Step.EVICT:
            self.evict.add((), seconds)

    def _model(self, job: Job) -> str:
        ok = job.outcome is not None and job.outcome.kind is OutcomeKind.OK
        return self.names.label(job.route.model, ok or job.route.backend in self._engines)

    def _done(self, job: Job, at: float) -> None:
        outcome = job.outcome
        if outcome is None:
            return
        op, model = job.op.value, self._model(job)
        code = outcome.fault.code.value if outcome.fault is not None else ""
        self.jobs.add((op, model, outcome.kind.value, code))
        self.wait.add((op,), (at if job.granted is None else job.granted) - job.submitted)
        if job.granted is not None:
            self.slot.add((op,), at - job.granted)
            self.prepare.add((op,), (at if job.ran is None else job.ran) - job.granted)
        if job.first is not None:
            self.first_byte.add((op,), job.first - job.submitted)
        if job.ran is not None:
            self.run.add((op, model), at - job.ran)
        came = job.context.bytes_in
        if came:
            self.upload.add((op,), came)
        self._work(job, model, at)

    def _work(self, job: Job, model: str, at: float) -> None:
        if isinstance(job.result, Transcript) and job.ran is not None:
            self.audio.add((model,), job.result.duration)
            if job.result.duration > 0:
                self.rtf.add((model,), (at - job.ran) / job.result.duration)
        if isinstance(job.result, Generated) and job.ran is not None:
            self.inference.add((), at - job.ran)
        if job.op is Op.SWAP and job.outcome is not None:
            self.swaps.add((job.outcome.kind.value,))
            self.swap.add((), at - job.submitted)
