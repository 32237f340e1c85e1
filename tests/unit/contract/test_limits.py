"""Limits: what each allows, and the words in which it refuses."""

from __future__ import annotations

import math
from typing import Any, Literal

import pytest

from aistack.contract.limits import (
    Bytes,
    Characters,
    Items,
    Limit,
    OneOf,
    Pattern,
    Range,
    TotalCharacters,
    closed_list,
)
from aistack.contract.public import FilePart

CASES: list[tuple[Limit, str, list[Any], list[Any]]] = [
    (Range(0, 2), "be from 0 to 2", [0, 2, 0.5], [-0.1, 2.1, math.nan, math.inf, 10**400]),
    (Range(1), "be at least 1", [1, 10**400, 1e308], [0, math.nan, math.inf]),
    (Range(0, 2**31), "be from 0 to 2147483648", [2**31], [2**31 + 1]),
    (Characters(1, 2), "have from 1 to 2 characters", ["a", "\U0001f989\U0001f989"], ["", "abc"]),
    (Characters(2), "have at least 2 characters", ["ab"], ["a"]),
    (Items(1), "have at least 1 item", [("a",)], [()]),
    (Bytes(1), "have at least 1 byte", [FilePart("", "", 1)], [FilePart("", "", 0)]),
    (Pattern("^a+$", "one or more a"), "be one or more a", ["a", "aa"], ["", "ab"]),
    (OneOf(("a", "b")), "be one of a, b", ["a", "b"], ["", "A", "c"]),
    (OneOf(("a",)), "be a", ["a"], ["b"]),
    (
        TotalCharacters("name", 3),
        "have at most 3 characters in total",
        [(), (FilePart("", "ab"), FilePart("", "c"))],
        [(FilePart("", "ab"), FilePart("", "cd"))],
    ),
]


@pytest.mark.parametrize(("limit", "must", "kept", "broken"), CASES, ids=lambda each: str(each)[:30])
def test_a_limit(limit: Limit, must: str, kept: list[Any], broken: list[Any]) -> None:
    assert limit.must == must
    assert [value for value in kept if not limit.fits(value)] == []
    assert [value for value in broken if limit.fits(value)] == []


def test_a_literal_is_a_closed_list() -> None:
    assert closed_list(Literal["a", "b"]) == OneOf(("a", "b"))
    assert closed_list(str) is None
