"""The answer to a caller when the slot is taken: who has it, how far it is, what was refused. Pure."""

from __future__ import annotations

from aistack import errors
from aistack.errors import Fault
from aistack.jobs.model import Snapshot
from aistack.jobs.states import Op


def busy_fault(snapshot: Snapshot, op: Op, device: str | None, at: float) -> Fault:
    """The busy 503: names who holds the slot that an `op` bound to `device` wants, and what was refused.

    `at`: the scheduler's time.
    """
    holder = holder_of(snapshot, device, at)
    who = f"{holder['op']} ({holder['model']})" if holder else "another job"
    return errors.busy(
        f"The GPU is busy with {who}, so this {op.value} request was not started. "
        f"Try again in {errors.BUSY_RETRY_S} seconds.",
        **holder,
    )


def holder_of(snapshot: Snapshot, device: str | None, at: float) -> dict[str, str | float]:
    """Who holds the slot, for `error.holder`: op, model, since_s, progress?, eta_s? Empty: nobody."""
    for slot in snapshot.slots:
        if slot.holder is None or not slot.fits(device):
            continue
        holder = snapshot.jobs[slot.holder]
        since = holder.granted if holder.granted is not None else holder.since
        found: dict[str, str | float] = {
            "op": holder.op.value,
            "model": holder.route.model,
            "since_s": round(at - since, 3),
        }
        progress = holder.progress
        if progress is not None and progress.total:
            share = min(max(progress.done / progress.total, 0.0), 1.0)
            found["progress"] = round(share, 4)
            if share > 0 and holder.ran is not None:
                found["eta_s"] = round((at - holder.ran) * (1 - share) / share, 1)
        return found
    return {}
