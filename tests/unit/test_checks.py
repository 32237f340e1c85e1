"""`tests/CHECKS.md` against the tests: each of its numbers has its tests, and no test bears another one.

This imports no engine: a test that has gone is missed even where the libraries that it needs are absent.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from attrs import frozen

TESTS = Path(__file__).resolve().parents[1]
TABLE = TESTS / "CHECKS.md"
COUNTS = {"A": 223, "B": 100}
LEADING = re.compile(r"test((?:_[ab]\d+(?:_to_[ab]\d+)?)+)_")
PART = re.compile(r"_([ab])(\d+)(?:_to_\1(\d+))?")
ROW = re.compile(r"\| (?P<number>[AB]\d+) \| (?P<what>.+) \| (?P<where>[^|]+) \|")
NONE = "none: "


@frozen
class Check:
    """A row of the table: where its tests are, relative to `tests/`; or why it has none."""

    number: str
    what: str
    folders: tuple[str, ...]
    reason: str


def row(line: str) -> Check | None:
    """The check on a line of the table; None if the line is not a row."""
    found = ROW.fullmatch(line)
    if found is None:
        return None
    where = found["where"]
    if where.startswith(NONE):
        return Check(found["number"], found["what"], (), where.removeprefix(NONE))
    return Check(found["number"], found["what"], tuple(where.split(", ")), "")


@cache
def table() -> tuple[Check, ...]:
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    return tuple(check for line in lines if (check := row(line)) is not None)


def numbers(name: str) -> set[str]:
    """The numbers that a test's name begins with: test_b3_b28_to_b30_what bears B3, B28, B29 and B30."""
    leading = LEADING.match(name)
    found: set[str] = set()
    for letter, first, last in PART.findall(leading[1] if leading else ""):
        found |= {f"{letter.upper()}{n}" for n in range(int(first), int(last or first) + 1)}
    return found


@cache
def borne() -> dict[str, frozenset[str]]:
    """The numbers that the tests of each folder bear."""
    found: dict[str, set[str]] = {}
    for file in TESTS.rglob("test_*.py"):
        here = found.setdefault(file.parent.relative_to(TESTS).as_posix(), set())
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                here |= numbers(node.name)
    return {folder: frozenset(these) for folder, these in found.items()}


def test_names_are_read_as_they_are_meant() -> None:
    assert numbers("test_b3_b28_to_b30_what") == {"B3", "B28", "B29", "B30"}
    assert numbers("test_a57_a59_b1_what") == {"A57", "A59", "B1"}
    assert numbers("test_bodies_b3") == numbers("test_a_400") == set()


def test_rows_are_read_as_they_are_meant() -> None:
    both = row("| A40 | `<\\|x\\|>` is gone. | http/gateway, http/engines |")
    assert both == Check("A40", "`<\\|x\\|>` is gone.", ("http/gateway", "http/engines"), "")
    assert row("| B1 | It works. | none: nobody can see it |") == Check(
        "B1", "It works.", (), "nobody can see it"
    )
    assert row("| | what is observed | tested in |") is None


def test_every_number_is_in_the_table_once_and_in_order() -> None:
    expected = [f"{letter}{n}" for letter, last in COUNTS.items() for n in range(1, last + 1)]
    assert [check.number for check in table()] == expected


def test_every_check_says_something_of_its_own() -> None:
    said = Counter(check.what for check in table())
    assert [what for what, count in said.items() if count > 1 or not what.endswith(".")] == []


@pytest.mark.parametrize("letter", COUNTS)
def test_every_number_in_the_table_has_its_tests_or_a_reason(letter: str) -> None:
    checks = [check for check in table() if check.number.startswith(letter)]
    missing = [
        f"{check.number} in {folder}"
        for check in checks
        for folder in check.folders
        if check.number not in borne().get(folder, frozenset())
    ]
    assert missing == []
    assert [check.number for check in checks if not check.folders and not check.reason] == []


def test_every_number_a_test_bears_is_in_the_table() -> None:
    known = {check.number for check in table()}
    assert sorted(set().union(*borne().values()) - known) == []
