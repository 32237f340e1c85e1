"""Imports say what the design says: the pure parts are pure, and imports only point down.

Read from the syntax trees, so that an import inside a function counts too, and nothing is executed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "aistack"

PURE = (
    "jobs",
    "wire",
    "routing.py",
    "contract.py",
    "contract_internal.py",
    "contract_relayed.py",
    "contract_observability.py",
    "observe/counts.py",
    "observe/exchange.py",
    "observe/jobs.py",
    "observe/phases.py",
    "observe/redact.py",
    "observe/toggles.py",
    "observe/window.py",
    "converters.py",
    "errors.py",
    "chunks.py",
    "stats.py",
    "web/openapi.py",
    "web/openapi_examples.py",
    "web/openapi_schema.py",
    "web/refusals.py",
)
"""Parts that do nothing but compute; those that exist are held to it."""

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

LAYERS: tuple[tuple[str, ...], ...] = (
    ("aistack.cli", "aistack.__main__", "aistack.demo"),
    ("aistack.app",),
    ("aistack.web",),
    ("aistack.observe",),
    ("aistack.run",),
    ("aistack.routing", "aistack.stats"),
    ("aistack.jobs", "aistack.backends"),
    ("aistack.wire", "aistack.backends.base"),
    (
        "aistack.contract",
        "aistack.contract_internal",
        "aistack.contract_relayed",
        "aistack.converters",
        "aistack.config",
        "aistack.contract_observability",
        "aistack.converters",
        "aistack.config",
        "aistack.config_observability",
    ),
    ("aistack.chunks", "aistack.errors", "aistack.installing"),
)
"""From top to bottom; a module may import its own layer and those below it."""

NEVER = {
    "aistack.jobs": ("aistack.observe",),
    "aistack.run": ("aistack.observe",),
    "aistack.backends": (
        "aistack.observe",
        "aistack.jobs",
        "aistack.run",
        "aistack.web",
        "aistack.wire",
        "aistack.app",
    ),
}
"""What a part may not import whatever the layers say."""


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


def layer(name: str) -> int | None:
    """The layer of the longest listed name that holds `name`; none for what is not listed."""
    found = [(len(part), n) for n, parts in enumerate(LAYERS) for part in parts if within(name, part)]
    return max(found)[1] if found else None


def pure() -> list[Path]:
    return [path for path in modules() for part in PURE if _is_part(path, PACKAGE / part)]


def _is_part(path: Path, part: Path) -> bool:
    return path == part or part in path.parents


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
    found = []
    for name in imports(path, source):
        for part, forbidden in NEVER.items():
            if within(mine, part) and any(within(name, other) for other in forbidden):
                found.append(f"{mine} imports {name}")
        other = layer(name)
        if own is not None and other is not None and other < own:
            found.append(f"{mine} (layer {own}) imports {name} (layer {other})")
    return found


@pytest.mark.parametrize("path", pure(), ids=name_of)
def test_a_pure_module_is_pure(path: Path) -> None:
    assert not impurities(path)


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_point_down(path: Path) -> None:
    assert not upward(path)


def test_the_machine_is_held_to_it() -> None:
    assert {"aistack.jobs.table", "aistack.jobs.machine", "aistack.wire.base", "aistack.errors"} <= {
        name_of(path) for path in pure()
    }


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
        ("errors.py", "from aistack import web"),
        ("backends/base.py", "from aistack.jobs.model import Job"),
        ("backends/whisper.py", "from aistack import run"),
        ("run/runner.py", "from aistack.web.delivery import deliver"),
        ("run/scheduler.py", "from aistack.observe.jobs import JobFigures"),
        ("observe/observability.py", "from aistack.web.observed import WATCH"),
        ("web/audio.py", "from aistack import app"),
    ],
)
def test_an_import_upwards_would_be_seen(path: str, source: str) -> None:
    assert upward(PACKAGE / path, source)


def test_an_import_downwards_is_allowed() -> None:
    assert not upward(PACKAGE / "web" / "audio.py", "from aistack.run.scheduler import Scheduler")
    assert not upward(PACKAGE / "backends" / "whisper.py", "from aistack.backends.base import Engine")
    assert not impurities(PACKAGE / "jobs" / "table.py", "import json\nfrom attrs import frozen")
