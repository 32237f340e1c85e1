"""The mutants of contrib/dev/mutants fit the machine: a name that it no longer has changes nothing."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from enum import Enum
from pathlib import Path

import pytest

from aistack.chunks import Vram
from aistack.errors import Code, ErrorKind
from aistack.jobs import states
from contrib.dev.mutants.mutate import ENUMS, changes
from contrib.dev.mutants.run import MODULES

ROOT = Path(__file__).resolve().parents[3]
JOBS = ROOT / "aistack" / "jobs"
KNOWN: dict[str, type[Enum]] = {"Vram": Vram, "Code": Code, "ErrorKind": ErrorKind}


def descriptions(name: str) -> list[str]:
    return [what for _, what, _ in changes(ast.parse((JOBS / name).read_text()))]


@pytest.mark.parametrize("name", ENUMS)
def test_every_enum_that_is_swapped_has_these_members(name: str) -> None:
    enum = KNOWN.get(name) or getattr(states, name)
    assert set(ENUMS[name]) <= set(enum.__members__)
    if name not in KNOWN:
        assert set(ENUMS[name]) == set(enum.__members__)


def test_every_kind_of_change_of_a_row_still_finds_a_row() -> None:
    found = descriptions("table.py")
    for what in ("the row does nothing", "is not refused", "may lead to", "may not lead to"):
        assert any(what in each for each in found), what


def test_every_enum_is_swapped_somewhere() -> None:
    found = [what for name in MODULES for what in descriptions(name)]
    assert [name for name in ENUMS if not any(each.startswith(f"{name}.") for each in found)] == []


def test_the_tests_of_the_machine_run_without_plugins() -> None:
    """As the runner starts them: a mutant that no test can run against would count as killed."""
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", str(ROOT)]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", "tests/unit/jobs/test_drain.py"],
        cwd=ROOT,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
