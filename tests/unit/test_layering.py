"""Imports say what the design says: the pure parts are pure, and imports only point down.

Read from the syntax trees, so that an import inside a function counts too, and nothing is executed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "aistack"

IMPURE = {
    "aiohttp",
    "asyncio",
    "concurrent",
    "datetime",
    "fcntl",
    "glob",
    "http",
    "io",
    "logging",
    "mmap",
    "multiprocessing",
    "os",
    "pathlib",
    "queue",
    "random",
    "secrets",
    "select",
    "selectors",
    "shutil",
    "signal",
    "socket",
    "ssl",
    "structlog",
    "subprocess",
    "sys",
    "tempfile",
    "threading",
    "time",
    "urllib.request",
    "uuid",
    "uvloop",
}
"""Modules that reach a clock, a loop, a thread, a socket, a file, chance or a log."""

IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "__import__"}

LAYERS = (
    ("__main__",),
    ("cli",),
    ("demo", "doctor", "service"),
    ("web",),
    ("observe",),
    ("relays", "routing", "run"),
    ("backends",),
    ("engines", "jobs"),
    ("weights", "wire"),
    ("config", "contract"),
    ("chunks", "devices", "errors", "ids", ""),
)
"""The folders and modules of the package, from top to bottom (`""` is the package itself). Each imports
its own layer and those below it."""

NEVER = {
    "engines": ("jobs", "wire"),
    "jobs": ("config", "weights"),
    "run": ("relays", "routing"),
    "web": ("engines", "weights", "run"),
}
"""What a part does not import although the layers allow it."""

PURE_PARTS = ("jobs", "wire", "contract", "errors")
"""Folders in which every module is pure, whatever its docstring says."""


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, source: str | None = None) -> Iterator[str]:
    """Dotted names the module imports, relative ones resolved; type-checking blocks count as well."""
    tree = ast.parse(source if source is not None else path.read_text(encoding="utf-8"))
    package = name_of(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*up, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{base}.{alias.name}"


def within(name: str, part: str) -> bool:
    return name == part or name.startswith(part + ".")


def part_of(name: str) -> str:
    """The part of the package that holds a module: `jobs` for `aistack.jobs.table`."""
    return name.split(".")[1] if "." in name else ""


def layer(name: str) -> int | None:
    """The layer of a module of the package; None for a part that no layer names."""
    return next((n for n, parts in enumerate(LAYERS) if part_of(name) in parts), None)


def says_pure(path: Path) -> bool:
    """Whether the module's docstring says that it is pure."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return bool(re.search(r"(^|[.\n] ?)Pure[.,:]", docstring))


def pure() -> list[Path]:
    return [path for path in modules() if part_of(name_of(path)) in PURE_PARTS or says_pure(path)]


def impurities(path: Path, source: str | None = None) -> list[str]:
    """Why the module is not pure."""
    found = [
        f"imports {name}"
        for name in imports(path, source)
        if any(within(name, impure) for impure in IMPURE)
    ]
    tree = ast.parse(source if source is not None else path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            found.append(f"line {node.lineno}: is asynchronous")
        if isinstance(node, ast.Global):
            found.append(f"line {node.lineno}: changes a global")
        if isinstance(node, ast.Call) and ast.unparse(node.func) in IMPURE_CALLS:
            found.append(f"line {node.lineno}: calls {ast.unparse(node.func)}")
    return found


def upward(path: Path, source: str | None = None) -> list[str]:
    """Imports that point up, or that the part may never have."""
    mine = name_of(path)
    own = layer(mine)
    assert own is not None, f"{mine} is in no layer"
    found = []
    for name in imports(path, source):
        if not within(name, "aistack"):
            continue
        other = layer(name)
        if other is None:
            continue  # a name of the package itself, such as its version
        if other < own or part_of(name) in NEVER.get(part_of(mine), ()):
            found.append(f"{mine} imports {name}")
    return found


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected groups of more than one module."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in sorted(edges[node]):
            if other not in order:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], order[other])
        if low[node] == order[node]:
            group = [stack.pop()]
            while group[-1] != node:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(edges):
        if node not in order:
            visit(node)
    return found


def import_graph() -> dict[str, set[str]]:
    """The modules of the package that each module imports, functions' imports included."""
    known = {name_of(path) for path in modules()}
    graph: dict[str, set[str]] = {}
    for path in modules():
        targets = set()
        for name in imports(path):
            module = name if name in known else name.rpartition(".")[0]
            if module in known and module != name_of(path):
                targets.add(module)
        graph[name_of(path)] = targets
    return graph


def test_every_module_is_in_a_layer() -> None:
    assert [name_of(path) for path in modules() if layer(name_of(path)) is None] == []


def test_only_the_words_that_all_parts_speak_lie_at_the_top() -> None:
    assert {path.name for path in PACKAGE.glob("*.py")} == {
        "__init__.py",
        "__main__.py",
        "chunks.py",
        "ids.py",
    }


def test_no_circle_even_through_functions() -> None:
    assert circles(import_graph()) == []


def test_a_circle_would_be_seen() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c"]]


@pytest.mark.parametrize("path", pure(), ids=name_of)
def test_a_pure_module_is_pure(path: Path) -> None:
    assert not impurities(path)


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_point_down(path: Path) -> None:
    assert not upward(path)


def test_the_machine_is_held_to_it() -> None:
    named = {name_of(path) for path in pure()}
    assert {"aistack.jobs.table", "aistack.wire.base", "aistack.routing.choose"} <= named
    assert {"aistack.chunks", "aistack.errors.fault", "aistack.web.openapi.document"} <= named


@pytest.mark.parametrize(
    "source",
    [
        "import asyncio",
        "import os.path",
        "from time import monotonic",
        "def f():\n    from random import choice",
        "async def f(): ...",
        "open('x')",
        "x = 1\ndef f():\n    global x",
        "from aiohttp import web",
    ],
)
def test_an_impurity_would_be_seen(source: str) -> None:
    assert impurities(PACKAGE / "jobs" / "table.py", source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("jobs/table.py", "from aistack.run import scheduler"),
        ("jobs/table.py", "from ..run.scheduler import Scheduler"),
        ("wire/base.py", "import aistack.jobs"),
        ("errors/fault.py", "from aistack import web"),
        ("engines/base.py", "from aistack.jobs.model import Job"),
        ("engines/whisper.py", "from aistack import run"),
        ("run/runner.py", "from aistack.web.delivery import deliver"),
        ("run/scheduler.py", "from aistack.observe.job_metrics import JobFigures"),
        ("observe/observability.py", "from aistack.web.instrumentation import WATCH"),
        ("web/gateway/transcription.py", "from aistack.service import app"),
    ],
)
def test_an_import_upwards_would_be_seen(path: str, source: str) -> None:
    assert upward(PACKAGE / path, source)


def test_an_import_downwards_is_allowed() -> None:
    assert not upward(PACKAGE / "web" / "keys.py", "from aistack.jobs.model import Job")
    assert not upward(PACKAGE / "engines" / "whisper.py", "from aistack.engines.base import Engine")
    assert not impurities(PACKAGE / "jobs" / "table.py", "import json\nfrom attrs import frozen")
