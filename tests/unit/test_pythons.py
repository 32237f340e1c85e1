"""The CI step that tries other Pythons, with an interpreter that only plays one: any part can fail."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERSION = "3.99"

INTERPRETER = """#!/bin/sh
case "$1 $2" in
"-c "*) echo "$0" ;;
"-m venv") mkdir -p "$3/bin" && cp "$PLAYED/python" "$PLAYED/aistack" "$3/bin" ;;
esac
"""
PYTHON = """#!/bin/sh
[ "$2" != "$FAILS" ] || { echo "1 failed in $2"; exit 1; }
case "$2" in
pytest) echo "7 passed" ;;
esac
cat > /dev/null
"""
AISTACK = """#!/bin/sh
[ "$1" != "$FAILS" ] || { echo "nothing of the kind"; exit "$STATUS"; }
case "$1" in
transcribe) echo "hello there the weather is nice" ;;
doctor) echo "Everything that is configured works." ;;
esac
"""


def tried(folder: Path, fails: str = "", status: int = 0, version: str = VERSION) -> tuple[int, str]:
    """Exit code and output of the step; `fails` is the part that does, with that exit code."""
    for name, text in (("python", PYTHON), ("aistack", AISTACK), (f"python{VERSION}", INTERPRETER)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    environ = {
        **os.environ,
        "PATH": f"{folder}:{os.environ['PATH']}",
        "PLAYED": str(folder),
        "FAILS": fails,
        "STATUS": str(status),
    }
    done = subprocess.run(
        [ROOT / ".ci/pythons", version],
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_all_went_well(tmp_path: Path) -> None:
    code, told = tried(tmp_path)
    assert code == 0, told
    (line,) = told.splitlines()
    assert line.startswith(f"python{VERSION}, ")
    assert '"hello there the weather is nice" with the pins and with the newest' in line
    assert "doctor: Everything that is configured works. 7 passed; not as pinned:" in line


@pytest.mark.parametrize(
    ("fails", "status"),
    [("pip", 1), ("transcribe", 1), ("transcribe", 0), ("doctor", 1), ("pytest", 1)],
)
def test_a_part_that_fails_fails_all(fails: str, status: int, tmp_path: Path) -> None:
    """A transcript without the words fails though its command does not."""
    code, told = tried(tmp_path, fails, status)
    assert code == 1, told
    assert f"python{VERSION}" in told.splitlines()[-1] and "FAILED" in told.splitlines()[-1]


def test_a_python_that_is_not_there(tmp_path: Path) -> None:
    assert tried(tmp_path, version="3.98") == (0, "python3.98: not on this machine\n")


def test_a_python_that_does_not_run(tmp_path: Path) -> None:
    """As a version manager's shim of a version that is not chosen."""
    (tmp_path / "python3.97").write_text("#!/bin/sh\nexit 127\n")
    (tmp_path / "python3.97").chmod(0o755)
    assert tried(tmp_path, version="3.97") == (0, "python3.97: not on this machine\n")
