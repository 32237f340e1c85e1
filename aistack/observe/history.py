"""The last jobs and where their seconds went: an observer of transitions with a bounded memory.

It has no clock: transitions carry the scheduler's time, and `unix` turns that into unix seconds.
Calls that were refused at once are kept apart, so that a caller that retries in a loop does not push
the jobs out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from attrs import define, evolve, field

from aistack.chunks import Transcript
from aistack.contract.admin import JobKind, JobRecord, MinuteCounts, PhaseSpan, RefusedCall, TimelineView
from aistack.errors import Code
from aistack.jobs.model import Job, Transition
from aistack.jobs.states import Op, OutcomeKind, Phase, Step
from aistack.observe.intervals import Intervals

JOBS = 200
REFUSED = 100
MINUTES = 60

CAPABILITY: Mapping[Op, JobKind] = {
    Op.TRANSCRIBE: "asr",
    Op.SPEAK: "tts",
    Op.CHAT: "llm",
    Op.GENERATE: "llm",
    Op.SWAP: "models",
    Op.LOAD: "models",
    Op.UNLOAD: "models",
}


@define
class _Open:
    """A job under way."""

    job: Job
    phases: list[PhaseSpan] = field(factory=list)
    """Those that are over."""


class History:
    """`observe` is given to the scheduler; all else reads."""

    def __init__(self, unix: Callable[[float], float], jobs: int = JOBS, refused: int = REFUSED) -> None:
        self._unix = unix
        self._intervals = Intervals(_phase_of)
        self._open: dict[str, _Open] = {}
        self._done: deque[JobRecord] = deque(maxlen=jobs)
        self._refused: deque[RefusedCall] = deque(maxlen=refused)
        self._freed: dict[str, float] = {}
        self._minutes: deque[MinuteCounts] = deque(maxlen=MINUTES)

    def observe(self, transition: Transition) -> None:
        """Note one transition."""
        job = transition.job
        entry = self._open.setdefault(job.id, _Open(job))
        entry.job = job
        over = self._intervals.observe(transition)
        if over is not None:
            entry.phases.append(self._span(over.of, over.start, over.end))
        if transition.target is Phase.DONE:
            del self._open[job.id]
            self._ended(entry, self._at(transition.at))

    def timeline(self, last: int = JOBS) -> TimelineView:
        """The last jobs that ended, at most `last`, then those under way in the order they came."""
        ended = list(self._done)[-last:] if last > 0 else []
        running = [self._record(entry, None) for entry in self._open.values()]
        return TimelineView(
            jobs=(*ended, *running), refused=tuple(self._refused), minutes=tuple(self._minutes)
        )

    def freed(self, device: str) -> float | None:
        """When the slot was last given back, unix seconds; None if it was never held."""
        return self._freed.get(device)

    def _ended(self, entry: _Open, at: float) -> None:
        job = entry.job
        self._count(CAPABILITY[job.op], at)
        if job.slot is not None:
            self._freed[job.slot] = at
        turned_away = job.outcome is not None and job.outcome.kind is OutcomeKind.REJECTED
        if turned_away and not entry.phases:
            self._refused.append(
                RefusedCall(
                    at=at,
                    request_id=job.request_id,
                    op=job.op.value,
                    capability=CAPABILITY[job.op],
                    model=job.route.model,
                    code=_code(job),
                )
            )
            return
        self._done.append(self._record(entry, at))

    def _count(self, kind: JobKind, at: float) -> None:
        """One more call in this minute; loads and swaps are not calls."""
        if kind == "models":
            return
        minute = at - at % 60
        if not self._minutes or self._minutes[-1].at < minute:
            self._minutes.append(MinuteCounts(at=minute))
        last = self._minutes[-1]
        self._minutes[-1] = evolve(last, **{kind: getattr(last, kind) + 1})

    def _span(self, of: tuple[Phase, Step | None], start: float, end: float | None = None) -> PhaseSpan:
        phase, step = of
        assert phase is not Phase.DONE  # a job that is done is at nothing
        return PhaseSpan(
            phase=phase.value,
            step=None if step is None else step.value,
            start=self._at(start),
            end=None if end is None else self._at(end),
        )

    def _record(self, entry: _Open, ended: float | None) -> JobRecord:
        job = entry.job
        now = self._intervals.open(job.id)
        under_way = () if now is None else (self._span(*now),)
        return JobRecord(
            job_id=job.id,
            request_id=job.request_id,
            op=job.op.value,
            capability=CAPABILITY[job.op],
            model=job.route.model,
            backend=job.route.backend,
            device=job.slot,
            submitted=self._at(job.submitted),
            ended=ended,
            outcome=job.outcome.kind.value if job.outcome is not None else None,
            code=_code(job),
            audio_s=job.result.duration if isinstance(job.result, Transcript) else None,
            phases=(*entry.phases, *under_way),
        )

    def _at(self, moment: float) -> float:
        return round(self._unix(moment), 3)


def _phase_of(transition: Transition) -> tuple[Phase, Step | None]:
    """The phase; and while the job prepares, for which step."""
    phase = transition.target
    return phase, transition.job.step if phase is Phase.PREPARING else None


def _code(job: Job) -> str | None:
    """What went wrong, in the closed list's words."""
    outcome = job.outcome
    if outcome is None:
        return None
    if outcome.fault is not None:
        return outcome.fault.code.value
    return Code.CANCELLED.value if outcome.kind is OutcomeKind.CANCELLED else None
