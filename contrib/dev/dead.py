"""Code of the package that nothing in the package uses, found by vulture; tests do not count as use.

    python -m contrib.dev.dead

Three kinds of use are invisible to vulture and left out here: annotated fields of classes (converters
read and write them by name), what a string "module:name" points at, and what a library calls. The last
has to be named in ALLOWED. Ends with 1 if something is dead, or if a name in ALLOWED need not be there.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from vulture import Vulture

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "aistack"
LEAST_CONFIDENCE = 60
TARGET = re.compile(r"[a-z_]+(?:\.[a-z_]+)+:(\w+)")
ALLOWED = {
    "EXITS": "the documentation's table of exit codes is compared with it",
    "connection_made": "asyncio calls it",
    "encode_special_tokens": "tokenizers reads it",
    "fatal": "structlog calls it",
    "find_class": "pickle calls it",
    "handle_error": "aiohttp calls it",
    "monitor_interval": "tqdm reads it",
    "msg": "structlog calls it",
    "openapi": "the parser puts its target together",
    "page_with": "a test compares the page of the machine with it",
    "part_reader_cls": "aiohttp reads it",
    "pipe_connection_lost": "asyncio calls it",
    "pipe_data_received": "asyncio calls it",
    "pre_tokenizer": "tokenizers reads it",
    "process_exited": "asyncio calls it",
    "pts": "PyAV reads it",
    "sample_config": "the parser puts its target together",
    "skip_special_tokens": "a parameter's name in a protocol",
    "states": "the parser puts its target together",
}
"""Names that something outside the package uses, and what that is."""

CALLED_BY_ATTRS = frozenset({"default", "validator"})
"""Names of the decorators whose functions attrs calls."""


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def hidden_uses() -> tuple[set[tuple[Path, int]], set[str]]:
    """Places of annotated fields and of what attrs calls; names that strings point at."""
    places: set[tuple[Path, int]] = set()
    names: set[str] = set()
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places |= {(path, part.lineno) for part in node.body if isinstance(part, ast.AnnAssign)}
            elif isinstance(node, ast.FunctionDef):
                marks = (each for each in node.decorator_list if isinstance(each, ast.Attribute))
                if any(mark.attr in CALLED_BY_ATTRS for mark in marks):
                    places.add((path, node.decorator_list[0].lineno))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                names |= set(TARGET.findall(node.value))
    return places, names


def main() -> int:
    places, names = hidden_uses()
    vulture = Vulture()
    vulture.scavenge([str(PACKAGE)])
    found = [
        item
        for item in vulture.get_unused_code(min_confidence=LEAST_CONFIDENCE)
        if (Path(item.filename), item.first_lineno) not in places and item.name not in names
    ]
    dead = [item for item in found if item.name not in ALLOWED]
    for item in dead:
        print(item.get_report())
    stale = ALLOWED.keys() - {item.name for item in found}
    for name in sorted(stale):
        print(f"{name} is in ALLOWED, and vulture does not mind it any more")
    return 1 if dead or stale else 0


if __name__ == "__main__":
    sys.exit(main())
