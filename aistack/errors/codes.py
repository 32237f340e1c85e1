"""What each error code means: kind, HTTP status, whether a retry may help, and a sentence. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from enum import property as enum_property


class ErrorKind(Enum):
    """What a client branches on, and the HTTP statuses it comes with, the usual one first."""

    NETWORK = ("network", 503)
    """Busy, unreachable, not installed, failed to load: nothing is wrong with the request."""
    MALFORMED = ("malformed", 400, 401, 403, 404, 405)
    """The request is wrong."""
    OVERFLOW = ("overflow", 413)
    """Too large for the limit, the model or the memory."""
    CANCELLED = ("cancelled", 499)
    """The client left; seen in logs only."""
    UNKNOWN = ("unknown", 500)
    """Anything else; not worth a retry."""

    def __init__(self, word: str, *statuses: int) -> None:
        self.word = word
        self.statuses = statuses
        self.status = statuses[0]


_KINDS: Mapping[int, ErrorKind] = {status: kind for kind in ErrorKind for status in kind.statuses}


class Retry(Enum):
    """Whether sending the same request again may succeed."""

    LATER = "later"
    """Yes, after the seconds in `Retry-After`."""
    NOW = "now"
    """Yes, at once."""
    NEVER = "never"
    """No; a 5xx says so with `x-should-retry: false`."""


_NONE: Mapping[int, Retry] = {}


class Code(Enum):
    """The fine machine word inside a kind, and what it means.

    The list is closed: a new member is an addition to the contract, and gets a page of docs/errors/.
    `retries` has the statuses that the code comes with, the usual one first, and whether a retry may
    help with each; the status decides the kind. `meaning` is a sentence of Markdown for whoever calls.
    """

    _value_: str

    SLOT_BUSY = (
        "slot_busy",
        {503: Retry.LATER},
        "Another job holds the slot; `error.holder` describes it.",
    )
    DRAINING = (
        "draining",
        {503: Retry.LATER},
        "The weights of the internal API are being changed, or loaded for the first time.",
    )
    SHUTTING_DOWN = (
        "shutting_down",
        {503: Retry.LATER},
        "The service is stopping and only finishes what is running.",
    )
    LOAD_COOLING_DOWN = (
        "load_cooling_down",
        {503: Retry.LATER},
        "The model failed to load twice or more in a row and is left alone for a while.",
    )
    MODEL_NOT_FOUND = (
        "model_not_found",
        {400: Retry.NEVER, 404: Retry.NEVER},
        "No model has this name: 400 for a request to a model, 404 for an operation on one.",
    )
    NOT_FOUND = (
        "not_found",
        {404: Retry.NEVER},
        "Nothing is served at this path.",
    )
    METHOD_NOT_ALLOWED = (
        "method_not_allowed",
        {405: Retry.NEVER},
        "The path exists, but not with this method.",
    )
    UNSUPPORTED_AUDIO = (
        "unsupported_audio",
        {400: Retry.NEVER},
        "The file is empty or cannot be read as audio.",
    )
    MISSING_FIELD = (
        "missing_field",
        {400: Retry.NEVER},
        "A required field is missing; `error.param` names it.",
    )
    INVALID_FIELD = (
        "invalid_field",
        {400: Retry.NEVER},
        "A field has a value that is not allowed; `error.param` names it.",
    )
    INVALID_BODY = (
        "invalid_body",
        {400: Retry.NEVER},
        "The body cannot be read: not a multipart form, incomplete, or not a JSON object.",
    )
    TOO_LARGE = (
        "too_large",
        {413: Retry.NEVER},
        "The body exceeds a limit of this server or of the upstream server.",
    )
    CONTEXT_OVERFLOW = (
        "context_overflow",
        {400: Retry.NEVER},
        "The conversation and the answer do not fit into the model's context.",
    )
    OUT_OF_MEMORY = (
        "out_of_memory",
        {413: Retry.NEVER},
        "Memory ran out while the model was loaded or while it worked on the request.",
    )
    BACKEND_MISSING = (
        "backend_missing",
        {503: Retry.NEVER},
        "The engine that serves this model is not installed, or is switched off.",
    )
    BACKEND_UNREACHABLE = (
        "backend_unreachable",
        {503: Retry.NEVER},
        "The upstream server (Ollama, or the speech server) cannot be reached.",
    )
    MODEL_LOAD_FAILED = (
        "model_load_failed",
        {503: Retry.NEVER},
        "The model could not be downloaded or loaded.",
    )
    ENGINE_CRASHED = (
        "engine_crashed",
        {503: Retry.NOW, 500: Retry.NEVER},
        "The engine's process exited: 503 before it began this request, 500 while it worked on it.",
    )
    ENGINE_STALLED = (
        "engine_stalled",
        {500: Retry.NEVER},
        "The engine showed no sign of life for `engines.stall_s` and was stopped.",
    )
    UPSTREAM_BUSY = (
        "upstream_busy",
        {503: Retry.LATER},
        "The upstream server is busy.",
    )
    UPSTREAM_TIMEOUT = (
        "upstream_timeout",
        {503: Retry.NOW},
        "The upstream server was reached but did not respond in time.",
    )
    UPSTREAM_REJECTED = (
        "upstream_rejected",
        {400: Retry.NEVER},
        "The upstream server refused the request; the message is its own.",
    )
    UPSTREAM_ERROR = (
        "upstream_error",
        {500: Retry.NEVER},
        "The upstream server failed.",
    )
    UNAUTHORIZED = (
        "unauthorized",
        {401: Retry.NEVER},
        "The API key is missing or invalid.",
    )
    FORBIDDEN_ORIGIN = (
        "forbidden_origin",
        {403: Retry.NEVER},
        "The request's `Origin` or `Host` is not allowed.",
    )
    NOT_CONFIGURED = (
        "not_configured",
        {503: Retry.NEVER},
        "This part of the service is not configured.",
    )
    CANCELLED = (
        "cancelled",
        {499: Retry.NEVER},
        "The client closed the connection; only logs and metrics show this code.",
    )
    INTERNAL_ERROR = (
        "internal_error",
        {500: Retry.NEVER},
        "A bug in aistack or in one of its libraries.",
    )

    def __new__(cls, value: str, *_facts: object) -> Code:
        member = object.__new__(cls)
        member._value_ = value
        return member

    # The defaults are for the type checker, to which the look-up `Code("slot_busy")` is a construction.
    def __init__(self, value: str, retries: Mapping[int, Retry] = _NONE, meaning: str = "") -> None:
        self.retries = retries
        self.meaning = meaning

    @enum_property
    def value(self) -> str:
        """The word in `error.code`. (An Enum with a `__new__` leaves the type of this open.)"""
        return self._value_

    @property
    def statuses(self) -> tuple[int, ...]:
        """The HTTP statuses that the code comes with, the usual one first."""
        return tuple(self.retries)

    @property
    def status(self) -> int:
        """The usual one."""
        return self.statuses[0]

    @property
    def kind(self) -> ErrorKind:
        """The kind that comes with the usual status."""
        return kind_of_status(self.status)


def kind_of_status(status: int) -> ErrorKind:
    """The kind that comes with an HTTP status. Raises KeyError for a status that no kind has."""
    return _KINDS[status]
