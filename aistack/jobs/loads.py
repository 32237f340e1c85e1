"""Bookkeeping of loads: what is resident where, what failed, what is cooling down."""

from __future__ import annotations

from aistack.errors import ErrorKind, Fault
from aistack.jobs.draft import Draft
from aistack.jobs.model import Broken, Job
from aistack.jobs.states import Step


def note_failed_load(draft: Draft, job: Job, fault: Fault) -> None:
    """Remember a failed load: from the second in a row on, the model is left alone for a while."""
    if job.step is not Step.LOAD:
        return
    wanted = job.route.resident
    if wanted == draft.selected:
        draft.set(selected_ok=False)
    if fault.kind is ErrorKind.OVERFLOW:
        return
    cooling = draft.cooling
    failures = cooling[wanted].failures + 1 if wanted in cooling else 1
    limits = draft.base.limits
    doublings = min(failures - 2, 32)  # a model may fail for weeks: the power must stay a float
    pause = min(limits.cooldown_first * 2**doublings, limits.cooldown_max)
    cooling[wanted] = Broken(failures, draft.at + pause if failures > 1 else draft.at)
    draft.set(cooling=cooling)


def note_loaded(draft: Draft, job: Job) -> None:
    """The model is in the slot now, whether its job is still there or not."""
    wanted = job.route.resident
    draft.set_slot(draft.slot_of(job).device, resident=wanted)
    if wanted == draft.selected:
        draft.set(selected_ok=True)
    if wanted in draft.base.cooling:
        cooling = draft.cooling
        del cooling[wanted]
        draft.set(cooling=cooling)


def note_lost(draft: Draft, job: Job, lost: bool) -> None:
    """The engine's process is gone, and what it held with it."""
    if lost:
        draft.set_slot(draft.slot_of(job).device, resident=None)
