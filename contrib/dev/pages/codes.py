"""What docs/errors/ says of a code beyond what the code says itself: codes.toml, read."""

from __future__ import annotations

import tomllib
from pathlib import Path

from attrs import frozen

from aistack.errors import Code


@frozen
class CodeNotes:
    """Whose doing an error is, and what helps besides a retry; empty if there is nothing to add."""

    cause: str
    more: str = ""
    client: str = ""
    operator: str = ""


def notes() -> dict[Code, CodeNotes]:
    """In the order of `Code`. Raises KeyError if one is missing, ValueError if one is not a code."""
    text = Path(__file__).with_name("codes.toml").read_text(encoding="utf-8")
    table = {Code(name): entry for name, entry in tomllib.loads(text).items()}
    return {code: CodeNotes(**{key: _line(said) for key, said in table[code].items()}) for code in Code}


def _line(words: str) -> str:
    return " ".join(words.split())
