"""The objects of an OpenAPI 3.1 document, as far as this project writes them. Pure.

Typed dicts: a misspelt member is an error of the type checker, and the values are JSON as they stand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypeAlias, TypedDict

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"

Ref = TypedDict("Ref", {"$ref": str})


class Discriminator(TypedDict):
    """Which member tells the members of a `oneOf` apart."""

    propertyName: str
    mapping: dict[str, str]


Schema = TypedDict(
    "Schema",
    {
        "$ref": str,
        "type": str | list[str],
        "format": str,
        "contentMediaType": str,
        "contentSchema": "Schema",
        "items": "Schema",
        "anyOf": "Sequence[Schema]",
        "oneOf": "Sequence[Schema]",
        "discriminator": Discriminator,
        "properties": "Mapping[str, Schema]",
        "required": list[str],
        "additionalProperties": "bool | Schema",
        "const": Json,
        "enum": list[object],
        "default": Json,
        "minimum": float,
        "maximum": float,
        "minLength": int,
        "maxLength": int,
        "minItems": int,
        "maxItems": int,
        "pattern": str,
        "description": str,
    },
    total=False,
)
"""JSON Schema 2020-12."""


class Example(TypedDict):
    """A value as it could be sent."""

    summary: NotRequired[str]
    value: Json


class MediaType(TypedDict, total=False):
    """A body in one media type; empty if it is anything at all."""

    schema: Schema
    examples: Mapping[str, Example | Ref]


class Header(TypedDict):
    """A response header."""

    description: str
    required: NotRequired[bool]
    schema: Schema


Parameter = TypedDict(
    "Parameter",
    {
        "name": str,
        "in": str,
        "required": NotRequired[bool],
        "description": str,
        "schema": Schema,
        "example": NotRequired[str],
    },
)


class RequestBody(TypedDict):
    """What a request carries."""

    required: NotRequired[bool]
    content: Mapping[str, MediaType]


class BodyPart(TypedDict, total=False):
    """The body of an operation; empty if it takes none."""

    requestBody: RequestBody


Response = TypedDict(
    "Response",
    {
        "description": str,
        "headers": Mapping[str, Ref],
        "x-relayed": NotRequired[bool],
        "content": NotRequired[Mapping[str, MediaType]],
        "x-error-codes": NotRequired[list[str]],
    },
)
"""`x-relayed`: the body is made elsewhere, and described as far as it is known. `x-error-codes`: the
values that `error.code` can have with this status."""

Security: TypeAlias = Mapping[str, list[str]]
"""The keys that together open an operation; empty if it is open."""


class OperationObject(TypedDict):
    """One method of one path."""

    operationId: str
    summary: str
    description: str
    tags: list[str]
    security: Sequence[Security]
    parameters: Sequence[Parameter | Ref]
    requestBody: NotRequired[RequestBody]
    responses: Mapping[str, Response]


PathItem: TypeAlias = dict[str, OperationObject]
"""By method, lower case."""

SecurityScheme = TypedDict(
    "SecurityScheme",
    {
        "type": str,
        "scheme": NotRequired[str],
        "in": NotRequired[str],
        "name": NotRequired[str],
        "description": str,
    },
)


class Tag(TypedDict):
    """A group of operations."""

    name: str
    description: str


class License(TypedDict):
    """The licence of the project."""

    name: str
    identifier: str


class Info(TypedDict):
    """What the document is about."""

    title: str
    version: str
    summary: str
    description: str
    license: License


class Server(TypedDict):
    """Where the operations are."""

    url: str
    description: str


class Components(TypedDict):
    """What other objects refer to, by name."""

    schemas: Mapping[str, Schema]
    examples: Mapping[str, Example]
    headers: Mapping[str, Header]
    parameters: Mapping[str, Parameter]
    securitySchemes: Mapping[str, SecurityScheme]


class Document(TypedDict):
    """The whole."""

    openapi: str
    info: Info
    servers: Sequence[Server]
    tags: Sequence[Tag]
    paths: Mapping[str, PathItem]
    components: Components
