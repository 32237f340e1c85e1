"""Every check of the internal inference API, B1 to B100, has a test over HTTP that bears its number.

Those that need weights are in tests/http/internal, where the engine's libraries are.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]
OVER_HTTP = ("http/gateway", "http/internal")
ALL = frozenset(range(1, 101))

AS_DECIDED = {
    7: "The body has `version` as well; ready and current_model as in row 4.",
    28: "An input error is 400 with the envelope, never 422; so in rows 29 to 33, 43, 46 and 68.",
    67: "The 202 comes at once: accepted, and what /generate uses now; ok where nothing is to do.",
    77: "An unknown tag, or one that cannot be served, is 404.",
    79: "A load that fails is told in /stats, for its 202 is out; the old tag stays current.",
    82: "The second swap is refused, 503 draining.",
    84: "A drain beyond its limit fails the swap; the old weights stay.",
    91: "A trace id that is no harmless word is replaced; ids go on the internal routes' answers.",
}
"""Rows whose text the decisions replaced, and what is tested in its place."""


def numbers(name: str) -> set[int]:
    """test_b3_b28_to_b30_what stands for 3, 28, 29 and 30."""
    leading = re.match(r"test((?:_b\d+(?:_to_b\d+)?)+)_", name)
    found: set[int] = set()
    for first, last in re.findall(r"_b(\d+)(?:_to_b(\d+))?", leading[1] if leading else ""):
        found |= set(range(int(first), int(last or first) + 1))
    return found


def numbered(folder: Path) -> set[int]:
    found: set[int] = set()
    for file in folder.rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found |= numbers(node.name)
    return found


def test_names_are_read_as_they_are_meant() -> None:
    assert numbers("test_b3_b28_to_b30_what") == {3, 28, 29, 30}
    assert numbers("test_bodies_b3") == set()


def test_every_number_has_a_test_over_http() -> None:
    found = set().union(*(numbered(TESTS / folder) for folder in OVER_HTTP))
    assert sorted(ALL - found) == []
    assert sorted(found - ALL) == []
    assert set(AS_DECIDED) <= ALL
