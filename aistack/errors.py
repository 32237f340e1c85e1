"""Faults as values: the five kinds, the closed list of codes, and the one producer of the envelope.

Pure. Nothing else in the project writes an error body. Source: seed 003 section 8, which fixes the
kinds and their statuses; the codes are an additive refinement and their list is closed (a test
compares it with the documentation).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import Any

from attrs import field, frozen

GATEWAY = "aistack"
"""The provider named by faults that no backend caused."""


class ErrorKind(Enum):
    """What a client branches on; the second value is the HTTP status it comes with."""

    NETWORK = ("network", 503)
    """Busy, unreachable, not installed, failed to load: nothing is wrong with the request."""
    MALFORMED = ("malformed", 400)
    """The request is wrong (also with 401, 403, 404 and 405)."""
    OVERFLOW = ("overflow", 413)
    """Too large for the limit, the model or the memory."""
    CANCELLED = ("cancelled", 499)
    """The client left; seen in logs only."""
    UNKNOWN = ("unknown", 500)
    """Anything else; not worth a retry."""

    def __init__(self, word: str, status: int) -> None:
        self.word = word
        self.status = status


class Code(Enum):
    """The fine machine word inside a kind. Closed: adding one means a page in the documentation."""

    SLOT_BUSY = "slot_busy"
    DRAINING = "draining"
    SHUTTING_DOWN = "shutting_down"
    LOAD_COOLING_DOWN = "load_cooling_down"
    MODEL_NOT_FOUND = "model_not_found"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    UNSUPPORTED_AUDIO = "unsupported_audio"
    MISSING_FIELD = "missing_field"
    INVALID_FIELD = "invalid_field"
    INVALID_BODY = "invalid_body"
    TOO_LARGE = "too_large"
    CONTEXT_OVERFLOW = "context_overflow"
    OUT_OF_MEMORY = "out_of_memory"
    BACKEND_MISSING = "backend_missing"
    BACKEND_UNREACHABLE = "backend_unreachable"
    MODEL_LOAD_FAILED = "model_load_failed"
    ENGINE_CRASHED = "engine_crashed"
    ENGINE_STALLED = "engine_stalled"
    UPSTREAM_BUSY = "upstream_busy"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    UPSTREAM_REJECTED = "upstream_rejected"
    UPSTREAM_ERROR = "upstream_error"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN_ORIGIN = "forbidden_origin"
    NOT_CONFIGURED = "not_configured"
    CANCELLED = "cancelled"
    INTERNAL_ERROR = "internal_error"


WAITING_HELPS = frozenset(
    {
        Code.SLOT_BUSY,
        Code.DRAINING,
        Code.SHUTTING_DOWN,
        Code.UPSTREAM_BUSY,
        Code.LOAD_COOLING_DOWN,
    }
)
"""Codes that carry `Retry-After`."""

RETRY_MAY_CURE = WAITING_HELPS | {Code.ENGINE_CRASHED, Code.UPSTREAM_TIMEOUT}
"""Codes of a 503 that an immediate retry can cure; every other 503 says `x-should-retry: false`."""

BUSY_RETRY_S = 5
"""Seconds in the `Retry-After` of a busy slot (seed 003 section 7: literally 5)."""


@frozen
class Fault:
    """One failure as a consumer will read it.

    `message` is a plain sentence that is safe to show: no paths, no exception text.
    `status` overrides the kind's own status (401, 403, 404, 405). `retry_after` is in seconds.
    `extra` holds additional members of the error object (`holder`, or an upstream's own members);
    it never replaces ours.
    """

    kind: ErrorKind
    code: Code
    message: str
    provider: str = GATEWAY
    param: str | None = None
    retry_after: int | None = None
    status_override: int | None = None
    extra: Mapping[str, Any] = field(factory=dict)

    @property
    def status(self) -> int:
        return self.status_override or self.kind.status


class BackendFault(Exception):
    """Raised by a backend (or by intake) that already knows how a consumer should read its failure."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"{fault.kind.word}/{fault.code.value}: {fault.message}")
        self.fault = fault


def error_object(fault: Fault) -> dict[str, Any]:
    """The inner object of the envelope; OpenAI's members (`type`, `code`, `param`) stand beside ours."""
    theirs = fault.kind in (ErrorKind.MALFORMED, ErrorKind.OVERFLOW)
    return dict(fault.extra) | {
        "kind": fault.kind.word,
        "provider": fault.provider,
        "message": fault.message,
        "type": "invalid_request_error" if theirs else "server_error",
        "code": fault.code.value,
        "param": fault.param,
    }


def envelope(fault: Fault) -> bytes:
    """The JSON body of every non-2xx answer, UTF-8. It may quote a client's text: lone surrogates
    become '?'."""
    text = json.dumps({"error": error_object(fault)}, ensure_ascii=False)
    return text.encode("utf-8", "replace")


def fault_headers(fault: Fault) -> tuple[tuple[str, str], ...]:
    """`Retry-After` where waiting helps, `x-should-retry: false` where a retry is in vain."""
    headers: list[tuple[str, str]] = []
    if fault.code in WAITING_HELPS and fault.retry_after is not None:
        headers.append(("Retry-After", str(fault.retry_after)))
    if fault.status == 500 or (fault.status == 503 and fault.code not in RETRY_MAY_CURE):
        headers.append(("x-should-retry", "false"))
    return tuple(headers)


# --- the faults that more than one place raises, each worded once ---------------------------------


def malformed(message: str, code: Code = Code.INVALID_FIELD, param: str | None = None) -> Fault:
    """Bad input: 400."""
    return Fault(ErrorKind.MALFORMED, code, message, param=param)


def busy(message: str, **holder: Any) -> Fault:
    """The slot is taken: 503 with `Retry-After: 5`; `holder` describes who has it."""
    return Fault(
        ErrorKind.NETWORK,
        Code.SLOT_BUSY,
        message,
        retry_after=BUSY_RETRY_S,
        extra={"holder": holder} if holder else {},
    )


def draining(message: str, retry_after: int = BUSY_RETRY_S) -> Fault:
    """Weights are being swapped: 503."""
    return Fault(ErrorKind.NETWORK, Code.DRAINING, message, retry_after=retry_after)


def shutting_down() -> Fault:
    """The service is about to stop: 503."""
    return Fault(
        ErrorKind.NETWORK,
        Code.SHUTTING_DOWN,
        "aistack is shutting down. Try again in a few seconds.",
        retry_after=BUSY_RETRY_S,
    )


def out_of_memory(provider: str, while_: str) -> Fault:
    """Memory ran out at load or in inference: 413, and the next request starts afresh."""
    return Fault(
        ErrorKind.OVERFLOW,
        Code.OUT_OF_MEMORY,
        f"Not enough memory to {while_}. Use a smaller model or a shorter input.",
        provider,
    )


def internal(provider: str = GATEWAY) -> Fault:
    """A bug of ours or of a library: 500. The traceback is in the log under the request id."""
    return Fault(
        ErrorKind.UNKNOWN,
        Code.INTERNAL_ERROR,
        "Something went wrong inside the service. The log has the details under this request's id.",
        provider,
    )


def fault_from(exc: BaseException, provider: str, kind: ErrorKind | None = None) -> Fault:
    """The only mapping from an exception to a fault.

    `kind` is what the backend's own `kind_of` made of a foreign exception, if anything.
    """
    if isinstance(exc, BackendFault):
        return exc.fault
    if isinstance(exc, MemoryError) or kind is ErrorKind.OVERFLOW:
        return out_of_memory(provider, "finish this request")
    if kind is ErrorKind.MALFORMED:
        return Fault(
            ErrorKind.MALFORMED,
            Code.UNSUPPORTED_AUDIO,
            "The file could not be read as audio.",
            provider,
            param="file",
        )
    if kind is ErrorKind.NETWORK:
        return Fault(
            ErrorKind.NETWORK,
            Code.MODEL_LOAD_FAILED,
            "The model could not be loaded. The log has the cause under this request's id.",
            provider,
        )
    return internal(provider)
