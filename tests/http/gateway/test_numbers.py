"""Every check of the contract that this version claims to pass has a test that bears its number."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]
CLAIMED = "1-8 11-39 42 45 53-83 85-87 90-95 98-101 107 111-124 131-135 137-142 147 148 150-158"


def numbers(ranges: str) -> set[int]:
    """ "1-3 7" as {1, 2, 3, 7}."""
    found: set[int] = set()
    for part in ranges.split():
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def numbered(folder: Path) -> set[int]:
    """The numbers in the names of test functions: test_a57_a59_... stands for 57 and 59."""
    found: set[int] = set()
    for file in folder.rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                leading = re.match(r"test((?:_a\d+)+)_", node.name)
                found |= {int(n) for n in re.findall(r"\d+", leading[1])} if leading else set()
    return found


def test_every_claimed_number_has_a_test() -> None:
    assert sorted(numbers(CLAIMED) - numbered(TESTS)) == []


def test_every_claimed_number_is_tested_over_http() -> None:
    """In this folder, where nothing but the engines' cards and scripts is made up."""
    assert sorted(numbers(CLAIMED) - numbered(TESTS / "http" / "gateway")) == []
