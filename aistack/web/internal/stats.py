"""What `/stats` says beyond the snapshot: an observer of transitions that counts; it has no clock."""

from __future__ import annotations

from collections import deque

from aistack.chunks import Generated
from aistack.contract.internal import LastSwap, PoolStats, WorkerInfo
from aistack.jobs.model import Job, Snapshot, Transition
from aistack.jobs.states import Op, OutcomeKind, Phase, Step
from aistack.observe.intervals import Intervals, step_of

WINDOW_S = 60.0


class GenerationFigures:
    """Counts of `/generate` and the last change of weights. Times are the scheduler's."""

    def __init__(self) -> None:
        self.tokens = 0
        self.requests = 0
        self.failures = 0
        self.load_s: float | None = None
        self.last_swap: LastSwap | None = None
        self._recent: deque[tuple[float, int]] = deque()
        self._steps = Intervals(step_of)

    def observe(self, transition: Transition) -> None:
        """Count one transition; the scheduler calls this for each."""
        job = transition.job
        if job.op not in (Op.GENERATE, Op.SWAP):
            return
        step = self._steps.observe(transition)
        if step is not None and step.of is Step.LOAD and step.report == "Loaded":
            self.load_s = round(step.end - step.start, 3)
        if job.op is Op.SWAP:
            self._swap(transition)
        elif transition.target is Phase.DONE:
            self._ended(job, transition.at)

    def _ended(self, job: Job, at: float) -> None:
        self.requests += 1
        self.failures += job.outcome is not None and job.outcome.kind is OutcomeKind.FAILED
        made = made_by(job)
        self.tokens += made
        self._recent.append((at, made))
        self._forget(at)

    def _swap(self, transition: Transition) -> None:
        job = transition.job
        outcome = job.outcome
        if outcome is not None and outcome.kind is OutcomeKind.REJECTED and not job.answered:
            return
        if outcome is None:
            self.last_swap = LastSwap(model_tag=job.route.model, status="running", error=None)
            return
        self.last_swap = LastSwap(
            model_tag=job.route.model,
            status="ok" if outcome.kind is OutcomeKind.OK else "failed",
            error=outcome.fault.message if outcome.fault is not None else None,
        )

    def refused(self, tag: str, why: str) -> None:
        """A change of weights that never became a job: shown like one that failed."""
        self.last_swap = LastSwap(model_tag=tag, status="failed", error=why)

    def _forget(self, at: float) -> None:
        while self._recent and self._recent[0][0] < at - WINDOW_S:
            self._recent.popleft()

    def answer(self, snapshot: Snapshot, at: float) -> PoolStats:
        """The body of `/stats` at the scheduler's time `at`."""
        self._forget(at)
        running = [job for job in snapshot.jobs.values() if job.op is Op.GENERATE and job.slot]
        under_way = sum(map(made_by, running))
        recent = under_way + sum(made for _, made in self._recent)
        selected = snapshot.selected
        busy = sum(slot.holder is not None for slot in snapshot.slots)
        tag = selected.model if selected is not None else None
        return PoolStats(
            total_workers=len(snapshot.slots),
            available_workers=len(snapshot.slots) - busy,
            busy_workers=busy,
            draining=any(job.op is Op.SWAP for job in snapshot.jobs.values()),
            workers=tuple(
                WorkerInfo(
                    gpu_id=place,
                    device=slot.device,
                    model_tag=tag,
                    resident=slot.resident.model if slot.resident is not None else None,
                )
                for place, slot in enumerate(snapshot.slots)
            ),
            model_tag=tag,
            queue_depth=sum(snapshot.jobs[name].op is not Op.SWAP for name in snapshot.queue),
            tokens_generated_total=self.tokens + under_way,
            tokens_per_second=round(recent / WINDOW_S, 3),
            active_generations=len(running),
            requests_total=self.requests,
            failures_total=self.failures,
            model_load_seconds=self.load_s,
            last_swap=self.last_swap,
        )


def made_by(job: Job) -> int:
    """Tokens a generation has made, as far as it has reported."""
    if isinstance(job.result, Generated):
        return job.result.tokens
    progress = job.progress
    return int(progress.done) if progress is not None and progress.unit == "tokens" else 0
