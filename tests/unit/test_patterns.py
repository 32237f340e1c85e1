"""No regular expression of the package can take more than the length of its text.

Two shapes can: a repeat within a repeat, which cuts a text up in twice as many ways with each
character, and a search that begins with a repeat, which begins anew at every character of a long row.
Python's possessive repeats (`++`) take nothing back, and a lookbehind lets the row begin once.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

PACKAGE = Path(__file__).parents[2] / "aistack"
PARSER: Any = importlib.import_module("re._parser")
GREEDY = ("MAX_REPEAT", "MIN_REPEAT")
REPEATS = (*GREEDY, "POSSESSIVE_REPEAT")
AT_ONE_PLACE = frozenset({"match", "fullmatch"})
FUNCTIONS = frozenset(
    {"compile", "match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer"}
)


def endless(operand: Any) -> bool:
    return bool(operand[1] == PARSER.MAXREPEAT)


def below(operand: Any) -> Iterator[Any]:
    """The patterns within an operand, whatever its shape."""
    if isinstance(operand, PARSER.SubPattern):
        yield operand
    elif isinstance(operand, tuple | list):
        for each in operand:
            yield from below(each)


def nested(pattern: Any, within: bool = False) -> bool:
    """Whether an endless repeat stands in another whose choices can be taken back."""
    for operation, operand in pattern:
        repeats = str(operation) in GREEDY and endless(operand)
        if repeats and within:
            return True
        inside = (within or repeats) and str(operation) not in ("POSSESSIVE_REPEAT", "ATOMIC_GROUP")
        if any(nested(each, inside) for each in below(operand)):
            return True
    return False


def leads(pattern: Any) -> bool:
    """Whether it begins with an endless repeat and can still fail after it."""
    for place, (operation, operand) in enumerate(pattern):
        if str(operation) in REPEATS:
            if endless(operand):
                return place + 1 < len(pattern)
            if operand[0] == 0:
                continue
            return False
        if str(operation) in ("SUBPATTERN", "BRANCH"):
            rest = place + 1 < len(pattern)
            return any(leads(each) or (rest and begins(each)) for each in below(operand))
        return False
    return False


def begins(pattern: Any) -> bool:
    first = next(iter(pattern), None)
    return first is not None and str(first[0]) in REPEATS and endless(first[1])


def patterns(tree: ast.Module, values: Mapping[str, object]) -> Iterator[tuple[int, str | bytes, bool]]:
    """Line, text, and whether it is only ever tried at one place of its text.

    `values` are the module's names. A pattern is an argument of the `re` module or of a limit `Pattern`;
    what that limit hands to `re` itself is an attribute, and its value has been looked at by then.
    """
    methods: dict[str, set[str]] = {}
    names: dict[int, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            methods.setdefault(node.value.id, set()).add(node.attr)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            names[id(node.value)] = node.targets[0].id
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and node.args):
            continue
        function = ast.unparse(node.func)
        owner, _, attribute = function.rpartition(".")
        if function != "Pattern" and not (owner == "re" and attribute in FUNCTIONS):
            continue
        argument = node.args[0]
        if isinstance(argument, ast.Attribute):
            continue
        assert isinstance(argument, ast.Constant | ast.Name), f"line {node.lineno}: put together"
        text = argument.value if isinstance(argument, ast.Constant) else values[argument.id]
        assert isinstance(text, str | bytes)
        used = methods.get(names.get(id(node), ""), set())
        used = used if attribute == "compile" else {attribute}
        yield node.lineno, text, bool(used) and used <= AT_ONE_PLACE


def wrong(source: str, values: Mapping[str, object] = {}) -> list[str]:
    found = []
    for line, text, at_one_place in patterns(ast.parse(source), values):
        pattern = PARSER.parse(text)
        if nested(pattern):
            found.append(f"{line}: a repeat within a repeat: {text!r}")
        if not at_one_place and leads(pattern):
            found.append(f"{line}: a search that begins with a repeat: {text!r}")
    return found


MODULES = [
    path
    for path in sorted(PACKAGE.rglob("*.py"))
    if re.search(r"^import re$|\bPattern\(", path.read_text(encoding="utf-8"), re.MULTILINE)
]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_pattern_takes_more_than_its_text(path: Path) -> None:
    dotted = ".".join(("aistack", *path.relative_to(PACKAGE).with_suffix("").parts))
    assert wrong(path.read_text(encoding="utf-8"), vars(importlib.import_module(dotted))) == []


@pytest.mark.parametrize(
    "pattern",
    [
        r"[+-]?((0+(\.0*)?|\.0+)(ns|s)?)+",
        r"(a*)*",
        r"(?:a+b?)+",
        r"-{2,}>",
        r"[ \t]*,[ \t]*",
        r"x?\s+y",
        r"(\s+)y",
    ],
)
def test_the_search_finds(pattern: str) -> None:
    assert wrong(f"import re\nre.search({pattern!r}, text)\n")


@pytest.mark.parametrize(
    "pattern", [r"[+-]?(?:(?:0++|\.0++)(?:s|m)?+)++", r"(?<!-)-{2,}+>", r"\s+", r"a\s*b", r"c(?:ab)*"]
)
def test_the_search_lets_pass(pattern: str) -> None:
    re.compile(pattern)
    assert not wrong(f"import re\nre.search({pattern!r}, text)\n")
