"""Values of the six types a setting can have, from TOML and from text. Strict in both.

The global converters of the usual libraries read "false" as true or 3.9 as 3; a setting that is
silently something else than what was written is worse than a refusal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STRINGS = tuple[str, ...]
TABLE = Mapping[str, str]

TRUE = frozenset({"1", "true", "on", "yes", "y"})
FALSE = frozenset({"0", "false", "off", "no", "n"})


class Unfit(ValueError):
    """The value is not of the setting's type."""


def wanted(kind: Any, toml: bool = False) -> str:
    """What stands after "must be" for a value of the wrong type."""
    words = {
        str: "a string",
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        STRINGS: 'a list of strings, like ["a", "b"]' if toml else "words separated by commas, like a,b",
        TABLE: 'a table of strings, like {a = "b"}'
        if toml
        else "pairs separated by commas, like a=b,c=d",
    }
    return words[kind]


def from_toml(kind: Any, value: Any) -> Any:
    """A value as the TOML parser gave it. Raises Unfit."""
    if kind is float and type(value) in (int, float):
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
    """A value as the environment writes it. Raises Unfit."""
    stripped = text.strip()
    if kind is str:
        return text
    if kind is bool:
        if stripped.lower() in TRUE | FALSE:
            return stripped.lower() in TRUE
        raise Unfit
    if kind is int or kind is float:
        try:
            return kind(stripped)
        except ValueError as exc:
            raise Unfit from exc
    if kind == STRINGS:
        return _words(text.split(","))
    pairs = [item.partition("=") for item in text.split(",") if item.strip()]
    if not all(key.strip() and equals for key, equals, _ in pairs):
        raise Unfit
    return {key.strip(): value.strip() for key, _, value in pairs}


def _words(items: list[str]) -> tuple[str, ...]:
    """Without blanks around them, and without empty ones: an empty key would let everybody in."""
    return tuple(item.strip() for item in items if item.strip())
