"""What the annotation of a field says beside its type: its sentence, its limits, how it is sent. Pure.

    top_k: Annotated[int | None, Doc("0: sample from all tokens."), Range(0, 200)] = None

The sentence describes the field in the reference, or in the sample configuration.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_origin

import attrs
from annotated_doc import Doc
from attrs import frozen

from aistack.contract.limits import Limit

M = TypeVar("M")


@frozen
class KeepNull:
    """Without a value the field is sent as null; other fields are left out."""


KEEP_NULL = KeepNull()


@frozen
class IgnoredWith:
    """The switch that makes the field meaningless, even with an invalid value."""

    switch: str


@frozen
class AnnotatedField:
    """One field of a class: its attrs field, and its annotation taken apart."""

    attribute: attrs.Attribute[Any]
    kind: Any
    metadata: tuple[object, ...]
    limits: tuple[Limit, ...]

    @property
    def name(self) -> str:
        return self.attribute.name

    @property
    def default(self) -> Any:
        """`attrs.NOTHING` if there is none."""
        return self.attribute.default

    @property
    def sentence(self) -> str:
        """The field's description. Raises TypeError if it has none."""
        doc = self.find(Doc)
        if doc is None:
            raise TypeError(f"the field {self.name} has no sentence")
        return doc.documentation

    def find(self, mark: type[M]) -> M | None:
        """The member of the annotation that is a `mark`; None if there is none."""
        return next((each for each in self.metadata if isinstance(each, mark)), None)


def annotated_fields(cls: type[attrs.AttrsInstance]) -> tuple[AnnotatedField, ...]:
    """The fields of an attrs class, in order, with their types resolved."""
    key: Any = cls  # for the type checker, a class is as hashable as its instances
    return _read(key)


@cache
def _read(cls: type[attrs.AttrsInstance]) -> tuple[AnnotatedField, ...]:
    attrs.resolve_types(cls)
    return tuple(_split(each) for each in attrs.fields(cls))


def _split(attribute: attrs.Attribute[Any]) -> AnnotatedField:
    kind: Any = attribute.type
    metadata: tuple[object, ...] = ()
    if get_origin(kind) is Annotated:
        kind, *rest = get_args(kind)
        metadata = tuple(rest)
    limits = tuple(each for each in metadata if isinstance(each, Limit))
    return AnnotatedField(attribute, kind, metadata, limits)


@cache
def without_none(kind: Any) -> Any:
    """`kind` of an optional type `kind | None`; any other type as it is."""
    options = [option for option in get_args(kind) if option is not type(None)]
    if type(None) in get_args(kind) and len(options) == 1:
        return options[0]
    return kind
