"""The reference: the operations and the contract's types as one OpenAPI 3.1 document. Pure.

Nothing is said twice: paths, types, limits, errors and sentences are those that the service works with,
so the document cannot drift from what is served. The tests validate every answer against it.

Server-sent events: OpenAPI 3.1 cannot describe them. The schema under `text/event-stream` is that of
one event, as readers have agreed (and as 3.2 writes it): an object whose `data` is a string that holds
JSON of the named schema.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import attrs

from aistack import __version__
from aistack.contract.public import ErrorEnvelope
from aistack.errors import Code, Retry
from aistack.web.openapi import components, examples, refusals
from aistack.web.openapi.components import headers, refer
from aistack.web.openapi.objects import (
    BodyPart,
    Document,
    Example,
    MediaType,
    OperationObject,
    Parameter,
    PathItem,
    Ref,
    Response,
    Schema,
)
from aistack.web.openapi.operation import Body, Events, Operation
from aistack.web.openapi.refusals import Refusals
from aistack.web.openapi.schema import Schemas, Side, is_form, prose

JSON = "application/json"
EVENTS = "text/event-stream"
FORM = "multipart/form-data"

_PLACE = re.compile(r"\{(\w+):?([^{}]*)\}")


def build(operations: Iterable[Operation]) -> Document:
    """The document. Raises TypeError for a type it cannot describe, ValueError for two of a kind."""
    schemas = Schemas()
    paths: dict[str, PathItem] = {}
    shown = [operation for operation in operations if operation.shown]
    for operation in shown:
        methods = paths.setdefault(_PLACE.sub(r"{\1}", operation.path), {})
        method = operation.method.lower()
        if method in methods:
            raise ValueError(f"{operation.method} {operation.path} is there twice")
        methods[method] = _operation(operation, schemas)
    used = dict.fromkeys(tag for operation in shown for tag in operation.tags)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "aistack",
            "version": __version__,
            "summary": "One OpenAI-compatible server that shares one GPU between speech and chat.",
            "description": prose(components.ABOUT),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "This server"}],
        "tags": [{"name": tag, "description": components.TAGS.get(tag, tag)} for tag in used],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.components.items())),
            "examples": examples.ERRORS,
            "headers": components.HEADERS,
            "parameters": components.PARAMETERS,
            "securitySchemes": components.SCHEMES,
        },
    }


def operation_id(operation: Operation) -> str:
    """A name for generated clients: `getV1Models`, `postV1AudioTranscriptions`."""
    words = re.findall(r"[A-Za-z0-9]+", _PLACE.sub(r"by \1", operation.path))
    return operation.method.lower() + "".join(word[0].upper() + word[1:] for word in words)


def waits(operation: Operation) -> bool:
    """Whether a call of it can queue; the operator's calls never do."""
    return (503, Code.SLOT_BUSY) in operation.refuses and "admin" not in operation.tags


def _operation(operation: Operation, schemas: Schemas) -> OperationObject:
    return {
        "operationId": operation_id(operation),
        "summary": operation.summary,
        "description": operation.about or prose(operation.handler.__doc__),
        "tags": list(operation.tags),
        "security": components.SECURITY[operation.guard],
        "parameters": _parameters(operation),
        **_body(operation, schemas),
        "responses": _responses(operation, schemas),
    }


def _parameters(operation: Operation) -> list[Parameter | Ref]:
    found: list[Parameter | Ref] = []
    for name, pattern in _PLACE.findall(operation.path):
        says, example = components.PLACES.get(name, (f"The {name}.", ""))
        schema: Schema = {"type": "string", "minLength": 1}
        if pattern not in ("", ".+"):
            schema["pattern"] = f"^{pattern}$"
        place: Parameter = {
            "name": name,
            "in": "path",
            "required": True,
            "description": says,
            "schema": schema,
        }
        if example:
            place["example"] = example
        found.append(place)
    found.append(refer("parameters", "RequestId"))
    if operation.guard == "internal":
        found.append(refer("parameters", "TraceId"))
    if waits(operation) and operation.status != 101:
        found.append(refer("parameters", "Prefer"))
    return found


def _body(operation: Operation, schemas: Schemas) -> BodyPart:
    takes = operation.takes
    if takes is None:
        return {}
    if isinstance(takes, str):
        return {"requestBody": {"content": {takes: {}}}}
    form = is_form(takes)
    content: MediaType = {"schema": schemas.ref(takes, Side.FORM if form else Side.ASKED)}
    if takes in examples.ASKED:
        content["examples"] = examples.ASKED[takes]
    return {"requestBody": {"required": True, "content": {FORM if form else JSON: content}}}


def _responses(operation: Operation, schemas: Schemas) -> dict[str, Response]:
    refused = operation.refuses | refusals.ANY
    if operation.guard:
        refused |= refusals.KEY
    responses = {str(operation.status): _success(operation, schemas)}
    if "ETag" in operation.headers:
        responses["304"] = components.NOT_MODIFIED
    for status in sorted({status for status, _ in refused}):
        responses[str(status)] = _failure(operation, status, refused, schemas)
    return responses


def _always(operation: Operation) -> tuple[str, ...]:
    return ("X-Request-ID", "X-Trace-ID") if operation.guard == "internal" else ("X-Request-ID",)


def _success(operation: Operation, schemas: Schemas) -> Response:
    names = [*_always(operation), *operation.headers]
    names += ["Preference-Applied"] if waits(operation) and operation.status != 101 else []
    response: Response = {"description": "Success.", "headers": headers(*names)}
    if operation.refuses >= refusals.UPSTREAM:
        response["x-relayed"] = True
    if operation.status == 101:
        response["description"] = "The connection is now a WebSocket."
    if operation.status == 202:
        response["description"] = "Accepted; the work continues in the background."
    content: dict[str, MediaType] = {}
    for kind in operation.gives:
        media, described = _gives(kind, schemas)
        content[media] = _either(content[media], described) if media in content else described
    if content:
        response["content"] = content
    return response


def _either(known: MediaType, more: MediaType) -> MediaType:
    """Two kinds of body with one media type."""
    if "schema" not in known or "schema" not in more:
        return more
    both = [*known["schema"].get("anyOf", [known["schema"]]), more["schema"]]
    shown = {**known.get("examples", {}), **more.get("examples", {})}
    return _shown({"schema": {"anyOf": both}}, shown)


def _gives(kind: Body | Events, schemas: Schemas) -> tuple[str, MediaType]:
    """The media type of one kind of body, and its description."""
    if isinstance(kind, Events):
        return EVENTS, _shown({"schema": _event(kind, schemas)}, examples.STREAMED.get(kind.name))
    shown = examples.ANSWERED.get(kind)
    if not isinstance(kind, str):
        if not attrs.has(kind):
            raise TypeError(f"the reference does not know answers like {kind!r}")
        return JSON, _shown({"schema": schemas.ref(kind, Side.ANSWERED)}, shown)
    media = kind.partition(";")[0]
    if media.startswith("text/"):
        return media, _shown({"schema": {"type": "string"}}, shown)
    if media.startswith("audio/"):
        return media, _shown({"schema": {"type": "string", "format": "binary"}}, shown)
    return media, _shown({"schema": {"type": "object"}}, shown) if media == JSON else {}


def _shown(content: MediaType, shown: Mapping[str, Example | Ref] | None) -> MediaType:
    return {**content, "examples": shown} if shown else content


def _event(events: Events, schemas: Schemas) -> Schema:
    """One server-sent event."""
    of_json: Schema = {
        "type": "string",
        "contentMediaType": JSON,
        "contentSchema": schemas.ref(events.kind, Side.ANSWERED, events.name),
    }
    data: Schema = {"oneOf": [{"const": events.last}, of_json]} if events.last else of_json
    return {
        "type": "object",
        "description": "One server-sent event. Lines that begin with a colon keep the connection alive.",
        "properties": {"data": {**data, "description": f"JSON of a {events.name}."}},
        "required": ["data"],
    }


def _failure(operation: Operation, status: int, refused: Refusals, schemas: Schemas) -> Response:
    """One status of failure. `x-error-codes` are the values that `error.code` can have with it."""
    codes = [code for code in Code if (status, code) in refused]
    retries = {code.retries[status] for code in codes}
    names = list(_always(operation))
    names += ["Retry-After"] if Retry.LATER in retries else []
    names += ["x-should-retry"] if Retry.NEVER in retries and status >= 500 else []
    words = ", ".join(f"`{code.value}`" for code in codes)
    return {
        "description": f"{components.MEANING.get(status, 'Refused.')} `error.code`: {words}.",
        "headers": headers(*names),
        "content": {
            JSON: {
                "schema": schemas.ref(ErrorEnvelope, Side.ANSWERED),
                "examples": {
                    code.value: refer("examples", examples.name_of(status, code)) for code in codes
                },
            }
        },
        "x-error-codes": [code.value for code in codes],
    }
