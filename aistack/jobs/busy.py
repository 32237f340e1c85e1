"""The answer to a caller when the slot is taken: who has it, how far it is, what was refused. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from aistack import errors
from aistack.errors import Fault
from aistack.jobs.model import Snapshot
from aistack.jobs.states import Op


def busy_fault(snapshot: Snapshot, op: Op, device: str | None, at: float) -> Fault:
    """The busy 503: names who holds the slot that an `op` bound to `device` wants, and what was refused.

    `at`: the scheduler's time.
    """
    return refused(op, holder_of(snapshot, device, at))


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
        if progress is not None and progress.share is not None:
            found["progress"] = round(progress.share, 4)
            left = progress.left_s(at - holder.ran) if holder.ran is not None else None
            if left is not None:
                found["eta_s"] = round(left, 1)
        return found
    return {}


_NOUNS: Mapping[Op, str] = {
    Op.TRANSCRIBE: "transcription",
    Op.SPEAK: "speech synthesis",
    Op.CHAT: "chat",
    Op.GENERATE: "text generation",
    Op.SWAP: "weight swap",
    Op.LOAD: "model load",
    Op.UNLOAD: "model unload",
}


def refused(op: Op, holder: Mapping[str, str | float]) -> Fault:
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
