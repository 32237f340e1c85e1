"""The states of a job, the modes of the service, and the words they are named with.

Read this first, then `table.py`. There is no "rejected" or "failed" state: those are outcomes of DONE.
"""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """Where a job is. The contract's five words."""

    ADMITTED = "admitted"
    """Accepted: it is queued, or holds the slot while its model is made ready."""
    RUNNING = "running"
    """Its backend runs; the client has seen nothing yet."""
    STREAMING = "streaming"
    """It runs, and the answer has begun: a failure can no longer be a status."""
    CANCELLED = "cancelled"
    """Nobody listens any more; the slot is still held, for the outstanding step has not reported."""
    DONE = "done"
    """Over; an Outcome says how. The job leaves the book in the same reaction."""


class Phase(Enum):
    """How the table is keyed: ADMITTED has two faces."""

    WAITING = "waiting"
    PREPARING = "preparing"
    RUNNING = "running"
    STREAMING = "streaming"
    CANCELLED = "cancelled"
    DONE = "done"


HOLDING = frozenset({Phase.PREPARING, Phase.RUNNING, Phase.STREAMING, Phase.CANCELLED})
"""Phases in which a job holds a slot and has exactly one step outstanding."""


class Mode(Enum):
    """The whole service."""

    SERVING = "serving"
    DRAINING = "draining"


class Op(Enum):
    """What a job is for."""

    TRANSCRIBE = "transcribe"
    SPEAK = "speak"
    CHAT = "chat"
    GENERATE = "generate"
    SWAP = "swap"
    """Change the selected weights: answered 202 at once, then done in the background."""
    LOAD = "load"
    """Housekeeping: make a model resident before anyone asks."""
    UNLOAD = "unload"
    """Housekeeping: give the memory of an idle model back."""


HOUSEKEEPING = frozenset({Op.LOAD, Op.UNLOAD})
"""What no caller waits for."""

WITHOUT_RUN = frozenset({Op.SWAP, Op.LOAD, Op.UNLOAD})
"""What is done once the memory is as it is wanted."""


class Step(Enum):
    """The one thing a holder is waiting for."""

    EVICT = "evict"
    LOAD = "load"
    RUN = "run"


class OutcomeKind(Enum):
    """How a DONE job ended."""

    OK = "ok"
    REJECTED = "rejected"
    """Never got the slot."""
    FAILED = "failed"
    CANCELLED = "cancelled"
    """Its client left."""
    REVOKED = "revoked"
    """The service stopped while it ran or was queued."""
