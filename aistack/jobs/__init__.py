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
from aistack.jobs.states import Column, Ended, Mode, Op, State

__all__ = [
    "SELECTED",
    "Column",
    "Ended",
    "IllegalTransition",
    "Job",
    "Limits",
    "Mode",
    "Op",
    "Outcome",
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
