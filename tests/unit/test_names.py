"""No two public classes of the package share a name, so that a search for one finds one."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "aistack"


def public_classes() -> dict[str, list[str]]:
    """The modules that define each public class name at their top level.

    Protocols are left out: one may describe a class of its name to a layer that must not import it.
    """
    found: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
                continue
            if "Protocol" not in map(ast.unparse, node.bases):
                found.setdefault(node.name, []).append(str(path.relative_to(PACKAGE)))
    return found


def test_every_public_class_has_a_name_of_its_own() -> None:
    found = public_classes()
    assert len(found) > 100
    assert {name: modules for name, modules in found.items() if len(modules) > 1} == {}
