"""The documentation as a site: built as `tox -e docs` does, warnings as errors, needing nobody else.

The generator gets an environment of its own: it is not among what the engines are pinned with.
"""

from __future__ import annotations

import configparser
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BOUND_S = 300
pytestmark = pytest.mark.timeout(3 * BOUND_S)


def run(*argv: str) -> str:
    """The output of a command that must succeed."""
    environ = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
    done = subprocess.run(
        argv, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=BOUND_S, check=False
    )
    assert done.returncode == 0, f"{shlex.join(argv)}:\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    run(sys.executable, "-m", "venv", str(folder / "env"))
    python = str(folder / "env" / "bin" / "python")
    run(python, "-m", "pip", "install", "--quiet", "--no-input", "-r", "docs/requirements.txt")
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    command = tox["testenv:docs"]["commands"]
    command = command.replace("{env_tmp_dir}", str(folder)).replace("{env_dir}", str(folder))
    program, *words = shlex.split(command)
    assert {"-W", "-n"} <= set(words)
    assert "build succeeded." in run(str(folder / "env" / "bin" / program), *words)
    return folder / "site"


def test_it_has_every_page_and_a_front(site: Path) -> None:
    pages = {page.relative_to(ROOT / "docs") for page in (ROOT / "docs").glob("**/*.md")}
    assert {page.with_suffix(".html") for page in pages} <= {
        page.relative_to(site) for page in site.glob("**/*.html")
    }
    assert (site / "index.html").read_bytes() == (site / "README.html").read_bytes()


def test_it_asks_nobody_else_for_anything(site: Path) -> None:
    """Links may lead elsewhere; what a browser fetches by itself may not."""
    fetched = re.compile(
        r"""<(?:script|img|iframe|source)[^>]*\ssrc="([^"]+)"|<link[^>]*\shref="([^"]+)\""""
    )
    asked = {
        target
        for page in site.glob("**/*.html")
        for pair in fetched.findall(page.read_text(encoding="utf-8"))
        for target in pair
        if re.match(r"(\w+:)?//", target)
    }
    sheets = "\n".join(sheet.read_text(encoding="utf-8") for sheet in site.glob("_static/**/*.css"))
    assert asked == set()
    assert re.findall(r"(?:url\(|@import )\W{0,2}(?:https?:)?//[^)\s]+", sheets) == []


def test_the_machines_picture_is_on_its_page(site: Path) -> None:
    page = (site / "internals/machine.html").read_text(encoding="utf-8")
    assert 'src="../_images/machine.svg"' in page
    assert "stateDiagram" not in page
