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

from aistack.contract.public import FilePart
from aistack.web.openapi.objects import Schema

_SCALARS: Mapping[type, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}
_LIMITS: Mapping[str, Mapping[str, str]] = {
    "string": {"min_length": "minLength", "max_length": "maxLength"},
    "array": {"min_length": "minItems", "max_length": "maxItems"},
    "integer": {"min": "minimum", "max": "maximum"},
    "number": {"min": "minimum", "max": "maximum"},
}
_LIMIT_WORDS = frozenset(word for words in _LIMITS.values() for word in words)


class Side(Enum):
    """Where a type is seen."""

    FORM = "form"
    ASKED = "asked"
    ANSWERED = "answered"


def is_form(cls: type) -> bool:
    """Whether a request type is sent as multipart/form-data: it has a file."""
    attrs.resolve_types(cls)
    return any(FilePart in _options(each.type) for each in attrs.fields(cls))


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

    def _class(self, cls: type, side: Side) -> Schema:
        attrs.resolve_types(cls)
        properties = {each.name: self._field(each, side) for each in attrs.fields(cls)}
        required = [each.name for each in attrs.fields(cls) if _always_there(each, side)]
        schema: Schema = {"type": "object", "description": prose(cls.__doc__), "properties": properties}
        if required:
            schema["required"] = required
        if getattr(cls, "CLOSED", False):
            schema["additionalProperties"] = False
        if getattr(cls, "OPEN", False):
            schema["additionalProperties"] = True
        return schema

    def _field(self, attribute: Any, side: Side) -> Schema:
        metadata = attribute.metadata
        kind = attribute.type
        if not _nullable(attribute, side):
            kind = _without_none(kind)
        schema = self.of(kind, side)
        if "one_of" in metadata:
            schema["enum"] = list(metadata["one_of"])
        words = {word: metadata[word] for word in _LIMIT_WORDS & metadata.keys()}
        names = _LIMITS.get(_main_type(schema), {})
        schema |= cast(Schema, {names[word]: limit for word, limit in sorted(words.items())})
        if "pattern" in metadata:
            schema["pattern"] = metadata["pattern"]
        if side is not Side.ANSWERED and attribute.default not in (attrs.NOTHING, None):
            schema["default"] = attribute.default
        if "says" not in metadata:
            raise TypeError(f"the field {attribute.name} has no sentence")
        return {**schema, "description": metadata["says"]}


def _options(kind: object) -> tuple[object, ...]:
    """The members of a union; anything else alone."""
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _without_none(kind: object) -> object:
    left = [each for each in _options(kind) if each is not type(None)]
    return Union[tuple(left)]  # noqa: UP007 - the members are only known here


def _nullable(attribute: Any, side: Side) -> bool:
    """Whether null may stand for a value. A form has no null, and an answer leaves the field out."""
    if type(None) not in _options(attribute.type):
        return False
    if side is Side.ANSWERED:
        return bool(attribute.metadata.get("keep_null"))
    return side is Side.ASKED


def _always_there(attribute: Any, side: Side) -> bool:
    if side is not Side.ANSWERED:
        return bool(attribute.default is attrs.NOTHING)
    return attribute.default is not None or bool(attribute.metadata.get("keep_null"))


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
    attrs.resolve_types(cls)
    kind = attrs.fields_dict(cls).get("type")
    values = get_args(kind.type) if kind is not None and get_origin(kind.type) is Literal else ()
    return values[0] if len(values) == 1 else None
