"""Annotations taken apart, and the sentences of every field that a user can read."""

from __future__ import annotations

from types import ModuleType
from typing import Annotated, Any

import attrs
import pytest
from annotated_doc import Doc
from attrs import frozen

from aistack.contract import admin, internal, observability, public, relayed
from aistack.contract.fields import KEEP_NULL, KeepNull, annotated_fields, without_none
from aistack.contract.limits import Characters
from aistack.contract.public import FilePart


@frozen
class Base:
    """A class whose field is inherited."""

    first: Annotated[str, Doc("The first."), Characters(1)]


@frozen
class Heir(Base):
    """A class with a field of its own."""

    second: Annotated[int | None, KEEP_NULL, Doc("The second.")] = None
    bare: tuple[str, ...] = ()


def test_an_annotation_is_taken_apart() -> None:
    first, second, bare = annotated_fields(Heir)
    assert (first.name, first.kind, first.sentence, first.limits) == (
        "first",
        str,
        "The first.",
        (Characters(1),),
    )
    assert first.default is attrs.NOTHING
    assert (second.kind, second.sentence, second.default) == (int | None, "The second.", None)
    assert second.find(KeepNull) is KEEP_NULL
    assert first.find(KeepNull) is None
    assert (bare.kind, bare.metadata) == (tuple[str, ...], ())


def test_a_field_without_a_sentence_cannot_be_described() -> None:
    with pytest.raises(TypeError, match="the field bare has no sentence"):
        assert annotated_fields(Heir)[2].sentence


@pytest.mark.parametrize(
    ("kind", "plain"), [(str | None, str), (str, str), (str | int | None, str | int | None)]
)
def test_the_optional_part_can_be_left_out(kind: Any, plain: Any) -> None:
    assert without_none(kind) == plain


def types_of(module: ModuleType) -> list[type[attrs.AttrsInstance]]:
    found = (value for value in vars(module).values() if isinstance(value, type))
    return [each for each in found if attrs.has(each) and each.__module__ == module.__name__]


@pytest.mark.parametrize(
    "cls",
    [
        each
        for module in (admin, internal, observability, public, relayed)
        for each in types_of(module)
        if each is not FilePart
    ],
    ids=lambda cls: cls.__name__,
)
def test_every_type_and_field_of_the_contract_has_its_sentence(cls: type[attrs.AttrsInstance]) -> None:
    assert cls.__doc__ and not cls.__doc__.startswith("Method generated")
    for each in annotated_fields(cls):
        assert each.sentence.endswith((".", "...")), each.name
