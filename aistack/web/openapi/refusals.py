"""Which refusals an operation can give: sets of (status, code), for the reference. Pure.

The tests compare every error that a test provokes with what its operation declares here.
"""

from __future__ import annotations

from aistack.errors import Code

Refusal = tuple[int, Code]
Refusals = frozenset[Refusal]


def _every(*codes: Code) -> Refusals:
    """Each code with its usual status."""
    return frozenset((code.status, code) for code in codes)


ANY = _every(Code.FORBIDDEN_ORIGIN, Code.INTERNAL_ERROR)
"""Of every operation: the browser guard, and a bug."""

KEY = _every(Code.UNAUTHORIZED)
"""Of every operation that may ask for a key."""

NO_MODEL: Refusals = frozenset({(404, Code.MODEL_NOT_FOUND)})
"""Of every operation on a model, in contrast to a request to a model."""

JSON_BODY = _every(Code.INVALID_BODY, Code.TOO_LARGE)
FIELDS = _every(Code.MISSING_FIELD, Code.INVALID_FIELD)
UPLOAD = JSON_BODY | FIELDS | _every(Code.UNSUPPORTED_AUDIO)

SLOT = _every(Code.SLOT_BUSY, Code.DRAINING, Code.SHUTTING_DOWN, Code.NOT_CONFIGURED)
"""Of every operation that takes a slot."""

ENGINE = _every(
    Code.BACKEND_MISSING,
    Code.MODEL_LOAD_FAILED,
    Code.LOAD_COOLING_DOWN,
    Code.OUT_OF_MEMORY,
    Code.ENGINE_CRASHED,
    Code.ENGINE_STALLED,
) | {(500, Code.ENGINE_CRASHED)}
"""Of every operation that an engine of aistack serves."""

UPSTREAM = _every(
    Code.UPSTREAM_REJECTED,
    Code.MODEL_NOT_FOUND,
    Code.TOO_LARGE,
    Code.UPSTREAM_ERROR,
    Code.BACKEND_UNREACHABLE,
    Code.UPSTREAM_BUSY,
    Code.UPSTREAM_TIMEOUT,
)
"""Of every operation that is relayed."""

HEARING = UPLOAD | SLOT | ENGINE | _every(Code.MODEL_NOT_FOUND)
CHATTING = JSON_BODY | FIELDS | SLOT | UPSTREAM | ENGINE | _every(Code.CONTEXT_OVERFLOW)
RELAYING = JSON_BODY | UPSTREAM | _every(Code.NOT_FOUND)
SPEAKING = RELAYING | FIELDS | SLOT | ENGINE
INNER = _every(Code.NOT_CONFIGURED)
"""Of the internal API: no key is set, or no weights are configured."""
GENERATING = JSON_BODY | FIELDS | SLOT | ENGINE | INNER | _every(Code.CONTEXT_OVERFLOW)
SWAPPING = (
    JSON_BODY
    | FIELDS
    | NO_MODEL
    | INNER
    | _every(Code.DRAINING, Code.SHUTTING_DOWN, Code.LOAD_COOLING_DOWN)
)
QUERY = _every(Code.INVALID_FIELD)
"""Of the operator's: a number in the query that is not one."""
RESETTING = _every(Code.SHUTTING_DOWN)
HOUSEKEEPING = (
    JSON_BODY
    | FIELDS
    | RESETTING
    | NO_MODEL
    | _every(
        Code.SLOT_BUSY,
        Code.NOT_CONFIGURED,
        Code.BACKEND_MISSING,
        Code.MODEL_LOAD_FAILED,
        Code.LOAD_COOLING_DOWN,
    )
)
"""Of loads and unloads, as far as they are refused at once: how they end is in the timeline."""
