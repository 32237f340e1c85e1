"""Values of the types that a setting can have, from TOML and from text. Strict in both.

The global converters of the usual libraries read "false" as true or 3.9 as 3; a setting that silently
differs from what was written is worse than a refusal. A closed list of words (`Literal`) is a string
here; that it is one of the words is a limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aistack.contract.booleans import boolean
from aistack.contract.limits import closed_list

STRINGS = tuple[str, ...]
TABLE = Mapping[str, str]


class Unfit(ValueError):
    """The value is not of the setting's type."""


_IN_TOML = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    STRINGS: 'a list of strings, like ["a", "b"]',
    TABLE: 'a table of strings, like {a = "b"}',
}
_IN_TEXT = _IN_TOML | {
    STRINGS: "words separated by commas, like a,b",
    TABLE: "pairs separated by commas, like a=b,c=d",
}


def expected(kind: Any, toml: bool = False) -> str:
    """What stands after "must be" for a value of the wrong type."""
    return (_IN_TOML if toml else _IN_TEXT)[_plain(kind)]


def from_toml(kind: Any, value: object) -> object:
    """A value as the TOML parser gave it. Raises Unfit."""
    kind = _plain(kind)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError as exc:
            raise Unfit from exc
    if kind in (str, int, bool) and type(value) is kind:
        return value
    if kind == STRINGS and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return _words(value)
    if kind == TABLE and isinstance(value, dict) and all(isinstance(v, str) for v in value.values()):
        return dict(value)
    raise Unfit


def from_text(kind: Any, text: str) -> Any:
    """A value as the environment writes it, of the type `kind`. Raises Unfit."""
    kind = _plain(kind)
    if kind is str:
        return text
    if kind is bool:
        value = boolean(text)
        if value is None:
            raise Unfit
        return value
    if kind is int or kind is float:
        try:
            return kind(text.strip())
        except ValueError as exc:
            raise Unfit from exc
    if kind == STRINGS:
        return _words(text.split(","))
    pairs = [item.partition("=") for item in text.split(",") if item.strip()]
    if not all(key.strip() and equals for key, equals, _ in pairs):
        raise Unfit
    return {key.strip(): value.strip() for key, _, value in pairs}


def _plain(kind: Any) -> Any:
    return str if closed_list(kind) is not None else kind


def _words(items: list[str]) -> tuple[str, ...]:
    """Without surrounding spaces, and without empty ones: an empty key would let everybody in."""
    return tuple(item.strip() for item in items if item.strip())
