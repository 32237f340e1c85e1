"""What a caller is told when the slot is taken: who has it, how far it is, what was refused. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aistack import errors
from aistack.errors import Fault
from aistack.jobs import plan
from aistack.jobs.draft import Draft
from aistack.jobs.model import Job
from aistack.jobs.states import Op


def holder_of(d: Draft, job: Job) -> dict[str, Any]:
    """Who holds the slot this job wants, for `error.holder`: op, model, since_s, progress?, eta_s?."""
    for slot in d.slots:
        if slot.holder is None or not plan.fits(job, slot):
            continue
        holder = d.jobs[slot.holder]
        since = holder.granted if holder.granted is not None else holder.since
        said: dict[str, Any] = {
            "op": holder.op.value,
            "model": holder.route.model,
            "since_s": round(d.at - since, 3),
        }
        progress = holder.progress
        if progress is not None and progress.total:
            share = min(max(progress.done / progress.total, 0.0), 1.0)
            said["progress"] = round(share, 4)
            if share > 0 and holder.ran is not None:
                said["eta_s"] = round((d.at - holder.ran) * (1 - share) / share, 1)
        return said
    return {}


def busy_fault(d: Draft, job: Job) -> Fault:
    """The busy 503: names who holds the slot and what was refused."""
    return refused(job.op, holder_of(d, job))


_NOUNS: Mapping[Op, str] = {
    Op.TRANSCRIBE: "transcription",
    Op.SPEAK: "speech synthesis",
    Op.CHAT: "chat",
    Op.GENERATE: "text generation",
    Op.SWAP: "weight swap",
    Op.LOAD: "model load",
    Op.UNLOAD: "model unload",
}


def refused(op: Op, holder: Mapping[str, Any]) -> Fault:
    """The busy 503 for a request of this kind; `holder` is empty if no single job has the slot."""
    if holder:
        who = f"a {_NOUNS[Op(holder['op'])]} ({holder['model']})"
        left = f" (about {holder['eta_s']:.0f} s left)" if "eta_s" in holder else ""
        state = f"{who} has been running for {holder['since_s']:.0f} s{left}"
    else:
        state = "the slot is reserved for other work"
    return errors.busy(
        f"Busy: {state}. This {_NOUNS[op]} was not started: retry in {errors.RETRY_S} s, or send "
        "`Prefer: wait=30` to queue.",
        **holder,
    )
