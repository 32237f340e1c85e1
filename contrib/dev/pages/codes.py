"""What each `error.code` means in words: codes.toml, read."""

from __future__ import annotations

import tomllib
from pathlib import Path

from attrs import frozen

from aistack.errors import Code


@frozen
class Told:
    """One code in words. `client` is for who sent the request, `operator` for who runs the server."""

    says: str
    cause: str
    client: str
    operator: str


def codes() -> dict[Code, Told]:
    """In the order of `Code`. Raises KeyError if one is missing, ValueError if one is not a code."""
    text = Path(__file__).with_name("codes.toml").read_text(encoding="utf-8")
    table = {Code(name): entry for name, entry in tomllib.loads(text).items()}
    return {code: Told(**{key: _line(said) for key, said in table[code].items()}) for code in Code}


def _line(words: str) -> str:
    return " ".join(words.split())
