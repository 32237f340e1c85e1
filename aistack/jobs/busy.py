"""What a caller is told when the slot is taken: who has it, how far it is, what was refused. Pure."""

from __future__ import annotations

from typing import Any

from aistack import errors
from aistack.errors import Fault
from aistack.jobs import plan
from aistack.jobs.draft import Draft
from aistack.jobs.model import Job


def holder_of(draft: Draft, job: Job) -> dict[str, Any]:
    """Who holds the slot this job wants, for `error.holder`: op, model, since_s, progress?, eta_s?."""
    for slot in draft.slots:
        if slot.holder is None or not plan.fits(job, slot):
            continue
        holder = draft.jobs[slot.holder]
        since = holder.granted if holder.granted is not None else holder.since
        said: dict[str, Any] = {
            "op": holder.op.value,
            "model": holder.route.model,
            "since_s": round(draft.at - since, 3),
        }
        progress = holder.progress
        if progress is not None and progress.total:
            share = min(max(progress.done / progress.total, 0.0), 1.0)
            said["progress"] = round(share, 4)
            if share > 0 and holder.ran is not None:
                said["eta_s"] = round((draft.at - holder.ran) * (1 - share) / share, 1)
        return said
    return {}


def busy_fault(draft: Draft, job: Job) -> Fault:
    """The busy 503: names who holds the slot and what was refused."""
    holder = holder_of(draft, job)
    who = f"{holder['op']} ({holder['model']})" if holder else "another job"
    return errors.busy(
        f"The GPU is busy with {who}, so this {job.op.value} request was not started. "
        f"Try again in {errors.BUSY_RETRY_S} seconds.",
        **holder,
    )
