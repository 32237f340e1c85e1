"""The reference: the operations and the contract's types as one OpenAPI 3.1 document. Pure.

Nothing is said twice: paths, types, limits, errors and sentences are those that the service works with,
so the document cannot drift from what is served. The tests validate every answer against it.

Server-sent events: OpenAPI 3.1 has no word for them. The schema under `text/event-stream` is that of
one event, as readers have agreed (and as 3.2 writes it): an object whose `data` is a string that holds
JSON of the named schema.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from aistack import __version__
from aistack.contract.public import ErrorEnvelope
from aistack.errors import RETRY_MAY_CURE, WAITING_HELPS, Code
from aistack.web.openapi import examples, refusals
from aistack.web.openapi.operation import Events, Operation
from aistack.web.openapi.refusals import Refusal
from aistack.web.openapi.schema import Schema, Schemas, Side, is_form, prose

JSON = "application/json"
EVENTS = "text/event-stream"
FORM = "multipart/form-data"

ABOUT = """**Busy.** One job holds the GPU at a time. Whoever comes meanwhile gets 503 `slot_busy` with
`Retry-After: 5` at once, or stands in line with `Prefer: wait=N`.

**Errors.** Every answer that is no success has the body `ErrorEnvelope`. Branch on `error.kind`;
`error.code` is the fine print, and its list is closed. After the first byte of a stream an error is its
last event. A client that leaves cancels; what it would have been told is kind `cancelled`, status 499,
in logs only.

**Ids.** Every answer has `X-Request-ID`: yours if you sent one of up to 128 letters, digits and
`- _ : .`, else one of ours. The log has the details under it.

**HEAD** answers like GET, without a body. Paths have no trailing slash. Answers may grow new members
within `/v1`: ignore what you do not know."""

TAGS: Mapping[str, str] = {
    "service": "The service itself.",
    "models": "What can be asked for.",
    "audio": "Speech to text, and text to speech.",
    "chat": "Chat.",
    "internal": "Tokens from local weights, for services that know the internal key.",
    "admin": "For whoever runs the service.",
}

PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "RequestId": {
        "name": "X-Request-ID",
        "in": "header",
        "description": "An id for this request, to find it in logs; it comes back.",
        "schema": {"type": "string"},
    },
    "TraceId": {
        "name": "X-Trace-ID",
        "in": "header",
        "description": "An id that several requests share; it comes back.",
        "schema": {"type": "string"},
    },
    "Prefer": {
        "name": "Prefer",
        "in": "header",
        "description": "`wait=N`: when the slot is busy, stand in line for up to N seconds.",
        "schema": {"type": "string"},
        "example": "wait=30",
    },
}

HEADERS: Mapping[str, Mapping[str, Any]] = {
    "X-Request-ID": {
        "description": "The id of this request.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_:.\\-]{1,128}$"},
    },
    "X-Trace-ID": {
        "description": "The caller's trace id, else the request's id.",
        "required": True,
        "schema": {"type": "string"},
    },
    "X-Aistack-Model": {
        "description": "Id of the model that served the request, percent-encoded where needed.",
        "required": True,
        "schema": {"type": "string"},
    },
    "Preference-Applied": {
        "description": "How long the request was allowed to stand in line, if it asked to.",
        "schema": {"type": "string", "pattern": "^wait=[0-9]+$"},
    },
    "Retry-After": {
        "description": "Seconds to wait; only where waiting helps.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "x-should-retry": {
        "description": "A word to OpenAI's clients: a retry is in vain.",
        "schema": {"type": "string", "const": "false"},
    },
    "ETag": {
        "description": "Changes when the body does.",
        "required": True,
        "schema": {"type": "string"},
    },
}

_SECURITY: Mapping[str, list[dict[str, list[str]]]] = {
    "": [],
    "api": [{}, {"bearer": []}],  # the key is off unless configured
    "internal": [{"internal": []}],
}
_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "One of `server.api_keys`; not asked for while that is empty.",
    },
    "internal": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Internal-API-Key",
        "description": "The internal key, `inference.api_key`; without one these routes are closed.",
    },
}
_MEANING: Mapping[int, str] = {
    400: "The request is wrong.",
    401: "A key is asked for, and none or a wrong one came.",
    403: "A web page that is not ours, or a foreign host name, called.",
    404: "There is no such thing.",
    413: "Too large: for the limit, the model or the memory.",
    500: "Something went wrong; a retry is in vain.",
    503: "Not now.",
}
_KNOWN = {
    "304": {
        "description": "Nothing changed since the answer whose ETag came in If-None-Match.",
        "headers": {"X-Request-ID": {"$ref": "#/components/headers/X-Request-ID"}},
    }
}
_PLACE = re.compile(r"\{(\w+):?([^{}]*)\}")
_PLACES: Mapping[str, tuple[str, str]] = {
    "id": ("Id of a model, slashes and all.", "whisper-small"),
    "path": ("The rest of the path.", "voices"),
}


def build(operations: Iterable[Operation]) -> dict[str, Any]:
    """The document. Raises TypeError for a type it cannot describe, ValueError for two of a kind."""
    schemas = Schemas()
    paths: dict[str, dict[str, Any]] = {}
    shown = [operation for operation in operations if operation.shown]
    for operation in shown:
        methods = paths.setdefault(_PLACE.sub(r"{\1}", operation.path), {})
        if methods.setdefault(
            operation.method.lower(), described := _operation(operation, schemas)
        ) is not (described):
            raise ValueError(f"{operation.method} {operation.path} is there twice")
    used = dict.fromkeys(tag for operation in shown for tag in operation.tags)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "aistack",
            "version": __version__,
            "summary": "One OpenAI-compatible server that shares one GPU between speech and chat.",
            "description": prose(ABOUT),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "This server"}],
        "tags": [{"name": tag, "description": TAGS.get(tag, tag)} for tag in used],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.components.items())),
            "examples": examples.ERRORS,
            "headers": dict(HEADERS),
            "parameters": dict(PARAMETERS),
            "securitySchemes": _SCHEMES,
        },
    }


def operation_id(operation: Operation) -> str:
    """A name for generated clients: `getV1Models`, `postV1AudioTranscriptions`."""
    words = re.findall(r"[A-Za-z0-9]+", _PLACE.sub(r"by \1", operation.path))
    return operation.method.lower() + "".join(word[0].upper() + word[1:] for word in words)


def _operation(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    refused = operation.refuses | refusals.ANY
    if operation.guard:
        refused |= refusals.KEY
    described: dict[str, Any] = {
        "operationId": operation_id(operation),
        "summary": operation.summary,
        "description": operation.about or prose(operation.handler.__doc__),
        "tags": list(operation.tags),
        "security": _SECURITY[operation.guard],
        "parameters": _parameters(operation),
    }
    if operation.takes is not None:
        described["requestBody"] = _body(operation, schemas)
    described["responses"] = {
        str(operation.status): _good(operation, schemas),
        **(_KNOWN if "ETag" in operation.headers else {}),
        **{
            str(status): _bad(operation, status, refused, schemas)
            for status in sorted({status for status, _ in refused})
        },
    }
    return described


def waits(operation: Operation) -> bool:
    """Whether a call of it can stand in line; the operator's never do."""
    return (503, Code.SLOT_BUSY) in operation.refuses and "admin" not in operation.tags


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name, pattern in _PLACE.findall(operation.path):
        says, example = _PLACES.get(name, (f"The {name}.", ""))
        place = {"name": name, "in": "path", "required": True, "description": says}
        place["schema"] = {"type": "string", "minLength": 1} | (
            {} if pattern in ("", ".+") else {"pattern": f"^{pattern}$"}
        )
        found.append({**place, **({"example": example} if example else {})})
    names = ["RequestId"]
    names += ["TraceId"] if operation.guard == "internal" else []
    names += ["Prefer"] if waits(operation) and operation.status != 101 else []
    return found + [{"$ref": f"#/components/parameters/{name}"} for name in names]


def _body(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    takes = operation.takes
    if isinstance(takes, str):
        return {"content": {takes: {}}}
    if is_form(takes):
        media, schema = FORM, schemas.ref(takes, Side.FORM)
    else:
        media, schema = JSON, schemas.ref(takes, Side.ASKED)
    content: dict[str, Any] = {"schema": schema}
    if takes in examples.ASKED:
        content["examples"] = examples.ASKED[takes]
    return {"required": True, "content": {media: content}}


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _always(operation: Operation) -> tuple[str, ...]:
    return ("X-Request-ID", "X-Trace-ID") if operation.guard == "internal" else ("X-Request-ID",)


def _good(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    headers = [*_always(operation), *operation.headers]
    headers += ["Preference-Applied"] if waits(operation) and operation.status != 101 else []
    answer: dict[str, Any] = {"description": "Done.", "headers": _headers(*headers)}
    if operation.refuses >= refusals.UPSTREAM:
        answer["x-relayed"] = True  # the body is made elsewhere, and told here as far as it is known
    if operation.status == 101:
        answer["description"] = "The connection is a WebSocket now."
    if operation.status == 202:
        answer["description"] = "Accepted; it is done in the background."
    content: dict[str, Any] = {}
    for kind in operation.gives:
        media, described = _gives(kind, schemas)
        if media in content and "schema" in content[media]:
            known = content[media]["schema"]
            both = [*known.get("anyOf", [known]), described.pop("schema")]
            content[media]["schema"] = {"anyOf": both}
            content[media].setdefault("examples", {}).update(described.pop("examples", {}))
        else:
            content[media] = described
    if content:
        answer["content"] = content
    return answer


def _gives(kind: Any, schemas: Schemas) -> tuple[str, dict[str, Any]]:
    """The media type of one kind of good answer, and what is said about it."""
    shown = {"examples": examples.ANSWERED[kind]} if kind in examples.ANSWERED else {}
    if isinstance(kind, Events):
        shown = {"examples": examples.STREAMED[kind.name]} if kind.name in examples.STREAMED else {}
        return EVENTS, {"schema": _event(kind, schemas), **shown}
    if isinstance(kind, str):
        media = kind.partition(";")[0]
        text = media.startswith("text/")
        binary = media.startswith("audio/")
        schema: Schema = {"type": "string"} if text else {"type": "object"} if media == JSON else {}
        if binary:
            schema = {"type": "string", "format": "binary"}
        return media, {"schema": schema, **shown} if schema else {}
    if not attrs.has(kind):
        raise TypeError(f"the reference does not know answers like {kind!r}")
    return JSON, {"schema": schemas.ref(kind, Side.ANSWERED), **shown}


def _event(events: Events, schemas: Schemas) -> Schema:
    """One server-sent event."""
    of_json: Schema = {
        "type": "string",
        "contentMediaType": JSON,
        "contentSchema": schemas.ref(events.kind, Side.ANSWERED, events.name),
    }
    data = {"oneOf": [{"const": events.last}, of_json]} if events.last else of_json
    return {
        "type": "object",
        "description": "One server-sent event. Lines that begin with a colon keep the connection alive.",
        "properties": {"data": {**data, "description": f"JSON of a {events.name}."}},
        "required": ["data"],
    }


def _bad(
    operation: Operation, status: int, refused: Iterable[Refusal], schemas: Schemas
) -> dict[str, Any]:
    """One status of failure. `x-error-codes` are the values that `error.code` can have with it."""
    codes = [code for code in Code if (status, code) in refused]
    headers = list(_always(operation))
    headers += ["Retry-After"] if status == 503 and WAITING_HELPS & set(codes) else []
    headers += (
        ["x-should-retry"] if status == 500 or (status == 503 and set(codes) - RETRY_MAY_CURE) else []
    )
    words = ", ".join(f"`{code.value}`" for code in codes)
    return {
        "description": f"{_MEANING.get(status, 'Refused.')} `error.code`: {words}.",
        "headers": _headers(*headers),
        "content": {
            JSON: {
                "schema": schemas.ref(ErrorEnvelope, Side.ANSWERED),
                "examples": {
                    code.value: {"$ref": f"#/components/examples/{examples.name_of(status, code)}"}
                    for code in codes
                },
            }
        },
        "x-error-codes": [code.value for code in codes],
    }
