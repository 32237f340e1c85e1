"""Contract types as JSON Schema 2020-12, as OpenAPI 3.1 wants it. Pure.

A type is sent by clients (in a body or a form) or by the server, and its schema differs: in an answer
every field is present except those that are left out when they have no value; in a request only those
without a default are required. A kind of type that is not known here raises TypeError, at start-up.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping
from enum import Enum
from typing import Any, Literal, Union, cast, get_args, get_origin

import attrs

from aistack.contract.fields import AnnotatedField, KeepNull, annotated_fields
from aistack.contract.limits import Length, Limit, OneOf, Pattern, Range
from aistack.contract.public import FilePart
from aistack.web.openapi.objects import Schema

_SCALARS: Mapping[type, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}
_LENGTHS: Mapping[str, tuple[str, str]] = {
    "string": ("minLength", "maxLength"),
    "array": ("minItems", "maxItems"),
}


class Side(Enum):
    """Where a type is seen."""

    FORM = "form"
    ASKED = "asked"
    ANSWERED = "answered"


def is_form(cls: type) -> bool:
    """Whether a request type is sent as multipart/form-data: it has a file."""
    return any(FilePart in _options(each.kind) for each in annotated_fields(cls))


def prose(text: str | None) -> str:
    """A docstring as running text: the lines of a paragraph joined, paragraphs kept apart."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(" ".join(each.split()) for each in paragraphs)


class Schemas:
    """The schemas of a document: `components` by name, filled as references are asked for."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}
        self._known: dict[str, tuple[object, Side]] = {}

    def ref(self, kind: object, side: Side, name: str = "") -> Schema:
        """A reference to a contract type, or to a union of them that is given a `name`."""
        name = name or getattr(kind, "__name__", "")
        known = self._known.setdefault(name, (kind, side))
        if known != (kind, side):
            raise TypeError(f"the name {name} stands for two schemas: {known} and {(kind, side)}")
        if name not in self.components:
            self.components[name] = {}  # a type that refers to itself finds it here
            self.components[name] = (
                self._class(kind, side)
                if isinstance(kind, type) and attrs.has(kind)
                else self._union(kind, side)
            )
        return {"$ref": f"#/components/schemas/{name}"}

    def of(self, kind: object, side: Side) -> Schema:
        """The schema of any type a field may have."""
        options = _options(kind)
        if len(options) > 1:
            return self._any(options, side)
        (kind,) = options
        if isinstance(kind, type) and kind in _SCALARS:
            return {"type": _SCALARS[kind]}
        if kind is FilePart and side is Side.FORM:
            return {"type": "string", "format": "binary"}
        if kind is Any:
            return {}
        if get_origin(kind) is Literal:
            return _literal(get_args(kind))
        if get_origin(kind) is tuple and get_args(kind)[1:] == (...,):
            return {"type": "array", "items": self.of(get_args(kind)[0], side)}
        if isinstance(kind, type) and attrs.has(kind):
            return self.ref(kind, side)
        if get_origin(kind) is Mapping and get_args(kind)[0] is str:
            return {"type": "object", "additionalProperties": self.of(get_args(kind)[1], side) or True}
        raise TypeError(f"the reference does not know types like {kind!r}")

    def _any(self, options: tuple[object, ...], side: Side) -> Schema:
        """A choice; null beside one scalar is one more type, which most readers understand best."""
        without = tuple(each for each in options if each is not type(None))
        schemas = [self.of(each, side) for each in without]
        if len(without) < len(options):
            scalar = schemas[0].get("type")
            if len(schemas) == 1 and isinstance(scalar, str):
                (schema,) = schemas
                if "enum" in schema:
                    schema["enum"] = [*schema["enum"], None]
                return {**schema, "type": [scalar, "null"]}
            schemas.append({"type": "null"})
        return {"anyOf": schemas} if len(schemas) > 1 else schemas[0]

    def _union(self, kind: object, side: Side) -> Schema:
        """Several answered types; told apart by their `type` where all have one."""
        members = [each for each in _options(kind) if isinstance(each, type) and attrs.has(each)]
        if len(members) < len(_options(kind)):
            raise TypeError(f"the reference does not know types like {kind!r}")
        refs = [self.ref(each, side) for each in members]
        words = [_word(each) for each in members]
        mapping = {word: ref["$ref"] for word, ref in zip(words, refs, strict=True) if word is not None}
        if len(mapping) < len(members):
            return {"anyOf": refs}
        return {"oneOf": refs, "discriminator": {"propertyName": "type", "mapping": mapping}}

    def _class(self, cls: type[attrs.AttrsInstance], side: Side) -> Schema:
        fields = annotated_fields(cls)
        properties = {each.name: self._field(each, side) for each in fields}
        required = [each.name for each in fields if _always_there(each, side)]
        schema: Schema = {"type": "object", "description": prose(cls.__doc__), "properties": properties}
        if required:
            schema["required"] = required
        if getattr(cls, "CLOSED", False):
            schema["additionalProperties"] = False
        if getattr(cls, "OPEN", False):
            schema["additionalProperties"] = True
        return schema

    def _field(self, field: AnnotatedField, side: Side) -> Schema:
        kind = field.kind
        if not _nullable(field, side):
            kind = _without_none(kind)
        schema = self.of(kind, side)
        for limit in field.limits:
            schema |= _limited(limit, _main_type(schema))
        if side is not Side.ANSWERED and field.default not in (attrs.NOTHING, None):
            schema["default"] = field.default
        return {**schema, "description": field.sentence}


def _options(kind: object) -> tuple[object, ...]:
    """The members of a union; anything else alone."""
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _without_none(kind: object) -> object:
    left = [each for each in _options(kind) if each is not type(None)]
    return Union[tuple(left)]  # noqa: UP007 - the members are only known here


def _nullable(field: AnnotatedField, side: Side) -> bool:
    """Whether null may stand for a value. A form has no null, and an answer leaves the field out."""
    if type(None) not in _options(field.kind):
        return False
    if side is Side.ANSWERED:
        return field.find(KeepNull) is not None
    return side is Side.ASKED


def _always_there(field: AnnotatedField, side: Side) -> bool:
    if side is not Side.ANSWERED:
        return field.default is attrs.NOTHING
    return field.default is not None or field.find(KeepNull) is not None


def _limited(limit: Limit, kind: str) -> Schema:
    """The keywords that a limit is for a value of the JSON type `kind`; none if there are none."""
    match limit:
        case Range(low, high):
            return _given(minimum=low, maximum=high)
        case Length(low, high) if kind in _LENGTHS:
            least, most = _LENGTHS[kind]
            return _given(**{least: low, most: high})
        case Pattern(regex):
            return {"pattern": regex}
        case OneOf(values):
            return {"enum": [*cast("tuple[str, ...]", values)]}
        case _:
            return {}


def _given(**keywords: float | None) -> Schema:
    return cast(Schema, {word: limit for word, limit in keywords.items() if limit is not None})


def _main_type(schema: Schema) -> str:
    kind = schema.get("type", "")
    return str(kind[0] if isinstance(kind, list) else kind)


def _literal(values: tuple[Any, ...]) -> Schema:
    (kind,) = {_SCALARS[type(value)] for value in values}
    if len(values) == 1:
        return {"type": kind, "const": values[0]}
    return {"type": kind, "enum": list(values)}


def _word(cls: type[attrs.AttrsInstance]) -> str | None:
    """The one value of the `type` of a stream event; None if the class is not one."""
    kinds = [each.kind for each in annotated_fields(cls) if each.name == "type"]
    values = get_args(kinds[0]) if kinds and get_origin(kinds[0]) is Literal else ()
    return values[0] if len(values) == 1 else None
