"""THE MACHINE: every request is a Job, moved by one pure function. Read states, table, machine."""

from aistack.chunks import Vram
from aistack.jobs.machine import IllegalTransition, handle, recovery
from aistack.jobs.model import (
    SELECTED,
    Job,
    Limits,
    Outcome,
    Resident,
    Route,
    Slot,
    Snapshot,
    Transition,
)
from aistack.jobs.reaction import Reaction
from aistack.jobs.states import Mode, Op, OutcomeKind, Phase, State

__all__ = [
    "SELECTED",
    "IllegalTransition",
    "Job",
    "Limits",
    "Mode",
    "Op",
    "Outcome",
    "OutcomeKind",
    "Phase",
    "Reaction",
    "Resident",
    "Route",
    "Slot",
    "Snapshot",
    "State",
    "Transition",
    "Vram",
    "handle",
    "recovery",
]
