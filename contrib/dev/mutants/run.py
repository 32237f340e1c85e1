"""Run the machine's tests against every mutant of a module; print which ones nobody noticed.

    python -m contrib.dev.mutants.run [--only table.py] [--from 100] [--limit 20] [--deep]

One core: each mutant is tried in a fork of one warm process, in a copy of the tree, and stops at its
first failing test. Without `--deep` only the quick tests run; with it, the survivors of those meet the
searches too.
"""

from __future__ import annotations

import argparse
import compileall
import importlib
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import pytest

from contrib.dev.mutants.mutate import Mutant, mutants

ROOT = Path(__file__).resolve().parents[3]
MODULES = (
    "states.py",
    "draft.py",
    "plan.py",
    "swap.py",
    "moves.py",
    "admission.py",
    "loads.py",
    "busy.py",
    "machine.py",
    "table.py",
)
QUICK = (
    ("table", "walks", "submitted", "swap", "story", "changes"),
    ("busy_and_cooling", "drain", "no_exception_holds_a_slot"),
)
DEEP = (("explore",), ("properties",))


def test(tree: Path, names: tuple[str, ...], limit_s: int) -> str:
    """Run test files in a fork: `killed`, `hangs` (killed too) or `survived`."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(limit_s)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os.chdir(tree)
        files = [f"tests/unit/jobs/test_{name}.py" for name in names]
        options = ["-x", "-q", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:logging"]
        code = pytest.main([*options, *(f for f in files if (tree / f).exists())])
        os._exit(int(code) & 0xFF)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return "hangs"
    return "survived" if os.WEXITSTATUS(status) == 0 else "killed"


def prepare(tree: Path) -> None:
    """Copy what the tests need, compiled, and warm this process with all that no mutant changes."""
    skip = shutil.ignore_patterns("__pycache__", ".hypothesis")
    for name in ("aistack", "tests", "docs"):
        shutil.copytree(ROOT / name, tree / name, ignore=skip)
    (tree / "pytest.ini").write_text("[pytest]\n")
    # Its hooks are pytest-asyncio's, which is not loaded: the machine has no loop.
    (tree / "tests" / "conftest.py").unlink()
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    compileall.compile_dir(tree / "tests", quiet=2)
    compileall.compile_dir(tree / "aistack", quiet=2)
    shutil.rmtree(tree / "aistack" / "jobs" / "__pycache__", ignore_errors=True)
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(tree))
    for name in ("hypothesis.stateful", "aistack.chunks", "aistack.errors", "aistack.wire.base"):
        importlib.import_module(name)


def try_one(tree: Path, module: str, mutant: Mutant, deep: bool, limit_s: int) -> str:
    target = tree / "aistack" / "jobs" / module
    before = target.read_text()
    target.write_text(mutant.source)
    try:
        for names in (*QUICK, *DEEP) if deep else QUICK:
            said = test(tree, names, limit_s)
            if said != "survived":
                return said
        return "survived"
    finally:
        target.write_text(before)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", help="a module of aistack/jobs (may be repeated)")
    parser.add_argument("--from", type=int, default=0, dest="first", help="number of the first mutant")
    parser.add_argument("--limit", type=int, default=60, help="seconds per mutant and group of tests")
    parser.add_argument("--deep", action="store_true", help="let survivors meet the searches")
    options = parser.parse_args()
    survived = 0
    tried = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        prepare(tree)
        if any(test(tree, names, 300) != "survived" for names in (*QUICK, *DEEP)):
            print("the tests fail without any mutant")
            return 2
        began = time.monotonic()
        for module in options.only or MODULES:
            source = (ROOT / "aistack" / "jobs" / module).read_text()
            for number, mutant in enumerate(mutants(source)):
                if number < options.first:
                    continue
                tried += 1
                said = try_one(tree, module, mutant, options.deep, options.limit)
                if said == "survived":
                    survived += 1
                    print(f"SURVIVED {module}:{mutant.line} #{number} {mutant.what}", flush=True)
        took = time.monotonic() - began
    print(f"{tried} mutants, {tried - survived} killed, {survived} survived, {took:.0f} s")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
