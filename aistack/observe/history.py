"""The last jobs and where their seconds went: an observer of transitions with a bounded memory.

It has no clock: transitions carry the scheduler's time, and `unix` turns that into unix seconds.
Calls that were refused at once are kept apart, so that a caller who knocks in a loop does not push
the jobs out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from attrs import define, evolve, field

from aistack.chunks import Transcript
from aistack.contract.admin import JobRecord, Kind, MinuteCounts, PhaseSpan, RefusedCall, TimelineView
from aistack.errors import Code
from aistack.jobs.model import Job, Transition
from aistack.jobs.states import Op, OutcomeKind, Phase

JOBS = 200
REFUSED = 100
MINUTES = 60

CAPABILITY: Mapping[Op, Kind] = {
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


class History:
    """`observe` is given to the scheduler; all else reads."""

    def __init__(self, unix: Callable[[float], float], jobs: int = JOBS, refused: int = REFUSED) -> None:
        self._unix = unix
        self._open: dict[str, _Open] = {}
        self._done: deque[JobRecord] = deque(maxlen=jobs)
        self._refused: deque[RefusedCall] = deque(maxlen=refused)
        self._freed: dict[str, float] = {}
        self._minutes: deque[MinuteCounts] = deque(maxlen=MINUTES)

    def observe(self, transition: Transition) -> None:
        """Note one transition."""
        job, at = transition.job, self._at(transition.at)
        if transition.target is Phase.DONE:
            self._ended(job, at)
            return
        entry = self._open.setdefault(job.id, _Open(job))
        entry.job = job
        step = job.step.value if job.step is not None and _prepares(transition.target) else None
        last = entry.phases[-1] if entry.phases else None
        if last is not None and (last.phase, last.step) == (transition.target.value, step):
            return
        self._close(entry, at)
        entry.phases.append(PhaseSpan(phase=transition.target.value, step=step, start=at))

    def timeline(self, last: int = JOBS) -> TimelineView:
        """The last jobs that ended, at most `last`, then those under way in the order they came."""
        ended = list(self._done)[-last:] if last > 0 else []
        running = [self._record(entry, None) for entry in self._open.values()]
        return TimelineView(
            jobs=(*ended, *running), refused=tuple(self._refused), minutes=tuple(self._minutes)
        )

    def freed(self, device: str) -> float | None:
        """When the slot was last given back, unix seconds; none if it never was held."""
        return self._freed.get(device)

    def _ended(self, job: Job, at: float) -> None:
        entry = self._open.pop(job.id, None) or _Open(job)
        entry.job = job
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
        self._close(entry, at)
        self._done.append(self._record(entry, at))

    def _count(self, kind: Kind, at: float) -> None:
        """One more call in this minute; loads and swaps are nobody's call."""
        if kind == "models":
            return
        minute = at - at % 60
        if not self._minutes or self._minutes[-1].at < minute:
            self._minutes.append(MinuteCounts(at=minute))
        last = self._minutes[-1]
        self._minutes[-1] = evolve(last, **{kind: getattr(last, kind) + 1})

    def _close(self, entry: _Open, at: float) -> None:
        """The phase so far ends."""
        if entry.phases:
            entry.phases[-1] = evolve(entry.phases[-1], end=at)

    def _record(self, entry: _Open, ended: float | None) -> JobRecord:
        job = entry.job
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
            phases=tuple(entry.phases),
        )

    def _at(self, moment: float) -> float:
        return round(self._unix(moment), 3)


def _prepares(phase: Phase) -> bool:
    return phase is Phase.PREPARING


def _code(job: Job) -> str | None:
    """What went wrong, in the closed list's words."""
    outcome = job.outcome
    if outcome is None:
        return None
    if outcome.fault is not None:
        return outcome.fault.code.value
    return Code.CANCELLED.value if outcome.kind is OutcomeKind.CANCELLED else None
