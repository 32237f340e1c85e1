"""Which refusals an operation can give: sets of (status, code), for the reference. Pure.

The tests compare every error that a test provokes with what its operation declares here.
"""

from __future__ import annotations

from aistack.errors import Code

Refusal = tuple[int, Code]
Refusals = frozenset[Refusal]


def _all(status: int, *codes: Code) -> Refusals:
    return frozenset((status, code) for code in codes)


ANY = _all(403, Code.FORBIDDEN_ORIGIN) | _all(500, Code.INTERNAL_ERROR)
"""Of every operation: the browser guard, and a bug."""

KEY = _all(401, Code.UNAUTHORIZED)
"""Of every operation that may ask for a key."""

NO_MODEL = _all(404, Code.MODEL_NOT_FOUND)

JSON_BODY = _all(400, Code.INVALID_BODY) | _all(413, Code.TOO_LARGE)
FIELDS = _all(400, Code.MISSING_FIELD, Code.INVALID_FIELD)
UPLOAD = JSON_BODY | FIELDS | _all(400, Code.UNSUPPORTED_AUDIO)

SLOT = _all(503, Code.SLOT_BUSY, Code.DRAINING, Code.SHUTTING_DOWN, Code.NOT_CONFIGURED)
"""Of every operation that takes a slot."""

ENGINE = (
    _all(
        503,
        Code.BACKEND_MISSING,
        Code.MODEL_LOAD_FAILED,
        Code.LOAD_COOLING_DOWN,
        Code.ENGINE_CRASHED,
    )
    | _all(413, Code.OUT_OF_MEMORY)
    | _all(500, Code.ENGINE_CRASHED, Code.ENGINE_STALLED)
)
"""Of every operation that an engine of ours serves."""

UPSTREAM = (
    _all(400, Code.UPSTREAM_REJECTED, Code.MODEL_NOT_FOUND)
    | _all(413, Code.TOO_LARGE)
    | _all(500, Code.UPSTREAM_ERROR)
    | _all(503, Code.BACKEND_UNREACHABLE, Code.UPSTREAM_BUSY, Code.UPSTREAM_TIMEOUT)
)
"""Of every operation that is relayed."""

HEARING = UPLOAD | SLOT | ENGINE | _all(400, Code.MODEL_NOT_FOUND)
CHATTING = JSON_BODY | FIELDS | SLOT | UPSTREAM | ENGINE | _all(400, Code.CONTEXT_OVERFLOW)
RELAYING = JSON_BODY | UPSTREAM | _all(404, Code.NOT_FOUND)
SPEAKING = RELAYING | FIELDS | SLOT | ENGINE
INNER = _all(503, Code.NOT_CONFIGURED)
"""Of the internal API: no key was set up, or no weights."""
GENERATING = JSON_BODY | FIELDS | SLOT | ENGINE | INNER | _all(400, Code.CONTEXT_OVERFLOW)
SWAPPING = (
    JSON_BODY
    | FIELDS
    | NO_MODEL
    | INNER
    | _all(503, Code.DRAINING, Code.SHUTTING_DOWN, Code.LOAD_COOLING_DOWN)
)
QUERY = _all(400, Code.INVALID_FIELD)
"""Of the operator's: a number in the query that is none."""
RESETTING = _all(503, Code.SHUTTING_DOWN)
HOUSEKEEPING = (
    JSON_BODY
    | FIELDS
    | RESETTING
    | NO_MODEL
    | _all(503, Code.SLOT_BUSY, Code.NOT_CONFIGURED, Code.BACKEND_MISSING)
    | _all(503, Code.MODEL_LOAD_FAILED, Code.LOAD_COOLING_DOWN)
)
"""Of loads and unloads, as far as they are refused at once: how they end is in the timeline."""
