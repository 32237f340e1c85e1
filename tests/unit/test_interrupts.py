"""Tests that send Ctrl-C pass where the run itself was started with SIGINT ignored."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.support.listening import ROOT
from tests.support.signals import as_in_the_background

TESTS = Path(__file__).resolve().parents[1]
SENDS = re.compile(r"signal\.SIGINT\b")
MARK = "@pytest.mark.interrupts"


def senders() -> list[Path]:
    """The test files that send SIGINT."""
    return [path for path in TESTS.rglob("test_*.py") if SENDS.search(path.read_text(encoding="utf-8"))]


def test_every_file_that_sends_it_has_marked_tests() -> None:
    files = senders()
    assert len(files) >= 4
    assert [path.name for path in files if MARK not in path.read_text(encoding="utf-8")] == []


def test_they_pass_in_the_background() -> None:
    """As `( trap '' INT; pytest )` and some CI runners start it."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "interrupts", "-p", "no:cacheprovider"]
    with as_in_the_background():
        done = subprocess.run(
            [*command, *map(str, senders())], cwd=ROOT, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None and int(passed[1]) >= 8
