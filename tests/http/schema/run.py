"""Runs schemathesis's own command in a process of its own, and reads what it reports."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from attrs import frozen

from tests.support.listening import ROOT

SETTINGS = Path(__file__).with_name("schemathesis.toml")


@frozen
class Ran:
    """What came of a run. `cases` were sent; `text` is what the command printed."""

    cases: int
    operations: int
    clean: bool
    text: str


def schemathesis(document: str, *more: str, settings: Path = SETTINGS, bound_s: float = 900) -> Ran:
    """Run it on a document (a URL or a file); `more` are further arguments."""
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(settings), "run", document]
    with tempfile.TemporaryDirectory(prefix="aistack_schema_") as folder:
        done = subprocess.run(
            [*command, *more],
            capture_output=True,
            text=True,
            timeout=bound_s,
            check=False,
            cwd=folder,  # it remembers failures where it runs, and would begin with them next time
            env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "160"},
        )
    text = done.stdout + done.stderr
    cases = re.search(r"([\d,]+) generated", text)
    tested = re.search(r"Tested: (\d+)", text)
    return Ran(
        int(cases[1].replace(",", "")) if cases else 0,
        int(tested[1]) if tested else 0,
        done.returncode == 0,
        text,
    )
