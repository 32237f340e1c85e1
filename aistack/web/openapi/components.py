"""What the reference says once: its introduction, tags, parameters, headers and keys. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from aistack.web.openapi.objects import Header, Parameter, Ref, Response, Security, SecurityScheme

ABOUT = """**Busy.** One job holds the GPU at a time. A second request gets 503 `slot_busy` with
`Retry-After: 5` at once, or queues with `Prefer: wait=N`. Closing the connection cancels a job.

**Errors.** Every unsuccessful response has the body `ErrorEnvelope`. Branch on `error.kind`;
`error.code` is more precise, and its list is closed. After the first byte of a stream an error is the
stream's last event. Disconnects are logged as `cancelled`, status 499.

**Ids.** Every response has `X-Request-ID`: yours if you sent one of up to 128 letters, digits and
`- _ : .`, else a generated one. The server's log has the details under it.

**HEAD** is answered like GET, without a body. Paths have no trailing slash. Responses may gain members
within `/v1`: ignore those that you do not know."""

TAGS: Mapping[str, str] = {
    "service": "The service itself.",
    "models": "The models that a request can name.",
    "audio": "Speech to text, and text to speech.",
    "chat": "Chat.",
    "internal": "Text generation from local model files, for services that have the internal key.",
    "admin": "For the operator of the service.",
}

PARAMETERS: Mapping[str, Parameter] = {
    "RequestId": {
        "name": "X-Request-ID",
        "in": "header",
        "description": "An id for this request, returned with the response and written to the logs.",
        "schema": {"type": "string"},
    },
    "TraceId": {
        "name": "X-Trace-ID",
        "in": "header",
        "description": "An id that several requests share; it is returned with the response.",
        "schema": {"type": "string"},
    },
    "Prefer": {
        "name": "Prefer",
        "in": "header",
        "description": "`wait=N`: if the slot is busy, queue for up to N seconds.",
        "schema": {"type": "string"},
        "example": "wait=30",
    },
}

HEADERS: Mapping[str, Header] = {
    "X-Request-ID": {
        "description": "The id of this request.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_:.\\-]{1,128}$"},
    },
    "X-Trace-ID": {
        "description": "The caller's trace id; the request's id if none was sent.",
        "required": True,
        "schema": {"type": "string"},
    },
    "X-Aistack-Model": {
        "description": "Id of the model that served the request, percent-encoded where needed.",
        "required": True,
        "schema": {"type": "string"},
    },
    "Preference-Applied": {
        "description": "How long the request was allowed to queue, if it asked to.",
        "schema": {"type": "string", "pattern": "^wait=[0-9]+$"},
    },
    "Retry-After": {
        "description": "Seconds to wait before a retry; sent only where waiting helps.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "x-should-retry": {
        "description": "Tells OpenAI client libraries not to retry.",
        "schema": {"type": "string", "const": "false"},
    },
    "ETag": {
        "description": "Changes when the body does.",
        "required": True,
        "schema": {"type": "string"},
    },
}

SECURITY: Mapping[str, list[Security]] = {
    "": [],
    "api": [{}, {"bearer": []}],  # the key is off unless configured
    "internal": [{"internal": []}],
}
"""By the guard of an operation."""

SCHEMES: Mapping[str, SecurityScheme] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "One of `server.api_keys`; not required while that is empty.",
    },
    "internal": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Internal-API-Key",
        "description": "The internal key, `inference.api_key`; without one these operations are closed.",
    },
}

MEANING: Mapping[int, str] = {
    400: "Invalid request.",
    401: "Missing or invalid API key.",
    403: "The request's `Origin` or `Host` is not allowed.",
    404: "Not found.",
    413: "Too large for a limit, the model or the memory.",
    500: "Internal error; retrying will not help.",
    503: "Not available now; see `error.code`.",
}
"""By HTTP status."""


def refer(kind: str, name: str) -> Ref:
    """A reference to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def headers(*names: str) -> dict[str, Ref]:
    """References to response headers."""
    return {name: refer("headers", name) for name in names}


NOT_MODIFIED: Response = {
    "description": "Not modified since the response whose ETag was sent in If-None-Match.",
    "headers": headers("X-Request-ID"),
}
"""The 304 of operations with an ETag."""

PLACES: Mapping[str, tuple[str, str]] = {
    "id": ("Id of a model; it may contain slashes.", "whisper-small"),
    "path": ("The rest of the path.", "voices"),
}
"""Parameters in paths: a sentence and an example."""
