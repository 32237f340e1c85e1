"""Every hint how to install something is a command that works where it is read."""

from __future__ import annotations

import configparser
import importlib
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from aistack.config import installing
from aistack.config.installing import DISTRIBUTION, here, libraries, ourselves
from aistack.engines import ENGINES

ROOT = Path(__file__).parents[3]
CONFIG = configparser.ConfigParser(interpolation=None)
CONFIG.read(ROOT / "setup.cfg", encoding="utf-8")
EXTRAS = {name: told.split("\n")[1:] for name, told in CONFIG["options.extras_require"].items()}


@pytest.fixture(autouse=True)
def forgetful() -> Iterator[None]:
    libraries.cache_clear()
    yield
    libraries.cache_clear()


def named(command: str) -> list[Requirement]:
    """What a `pip install` installs."""
    pip, install, *words = shlex.split(command)
    assert (pip, install) == ("pip", "install")
    return [Requirement(word) for word in words]


@pytest.mark.parametrize("extra", sorted(set(EXTRAS) - {"all"}))
def test_an_extra_by_its_libraries(extra: str) -> None:
    assert named(libraries(extra=extra)) == [Requirement(each) for each in EXTRAS[extra]]


def test_libraries_by_name_with_the_versions_that_are_admitted() -> None:
    names = ("huggingface-hub", "uvloop", "nobody-asks-for-this")
    hub, loop, stranger = named(libraries(*names))
    assert str(hub.specifier) == "<3,>=1"
    assert (str(loop.specifier), loop.marker) == ("<1,>=0.22", None), "it is wanted here: no marker"
    assert str(stranger) == "nobody-asks-for-this"


@pytest.mark.parametrize("engine", sorted(set(ENGINES) - {"fake"}))
def test_every_engine_of_ours_can_be_installed_by_its_hint(engine: str) -> None:
    """All that our extra of that name asks for, or parts of the base; every version bounded."""
    module, _, name = ENGINES[engine].partition(":")
    hint = named(getattr(importlib.import_module(module), name)().install)
    known = {Requirement(each).name for each in CONFIG["options"]["install_requires"].split("\n")[1:]}
    known |= {Requirement(each).name for told in EXTRAS.values() for each in told}
    assert hint and {each.name for each in hint} <= known - {DISTRIBUTION}
    assert all(each.specifier for each in hint)


def test_a_hint_is_one_command_for_this_interpreter(tmp_path: Path) -> None:
    """Given to a shell it reaches the interpreter that it names, with the words that pip must see."""
    odd = tmp_path / "an environment (mine)" / "python"
    odd.parent.mkdir()
    odd.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    odd.chmod(0o755)
    command = here("pip install 'nemo_toolkit[asr]<3.1,>=3.0' av", str(odd), again=True)
    told = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, check=True, timeout=10, cwd=tmp_path
    )
    wanted = ["-m", "pip", "install", "--force-reinstall", "nemo_toolkit[asr]<3.1,>=3.0", "av"]
    assert told.stdout.splitlines() == wanted
    assert here("pip install av") == f"{shlex.quote(sys.executable)} -m pip install av"


def test_a_command_that_is_not_pips_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert here("apt-get install festival", "/venv/python", again=True) == "apt-get install festival"
    assert here("pip install-nothing") == "pip install-nothing"
    monkeypatch.setattr(sys, "executable", "")
    assert here("pip install av") == "python -m pip install av"


def test_windows_knows_no_single_quotes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installing, "WINDOWS", True)
    command = here(libraries("av"), r"C:\Program Files\aistack\python.exe")
    assert command == r'"C:\Program Files\aistack\python.exe" -m pip install "av<20,>=14"'
    assert here("pip install av", r"C:\aistack\python.exe") == r"C:\aistack\python.exe -m pip install av"


def test_a_source_tree_that_was_never_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> Any:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", unknown)
    assert libraries(extra="parakeet") == f"pip install {shlex.quote(f'{ROOT}[parakeet]')}"
    assert libraries("faster-whisper", "av") == "pip install faster-whisper av"


class Installed:
    """Our distribution's record of where it came from."""

    def __init__(self, record: str | None) -> None:
        self.record = record

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return self.record


@pytest.mark.parametrize("there", [True, False])
def test_another_interpreter_gets_what_this_one_was_installed_from(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path / "a clone"
    if there:
        clone.mkdir()
    record = json.dumps({"url": clone.as_uri(), "dir_info": {}})
    monkeypatch.setattr(installing, "_TREE", tmp_path)
    monkeypatch.setattr(metadata, "distribution", lambda name: Installed(record))
    wanted = f"/other/python -m pip install {shlex.quote(str(clone))}" if there else ""
    assert ourselves("/other/python") == wanted


@pytest.mark.parametrize("record", [None, "no JSON", '{"url": "https://example.org/aistack.whl"}'])
def test_nobody_knows_where_this_one_came_from(
    record: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installing, "_TREE", tmp_path)
    monkeypatch.setattr(metadata, "distribution", lambda name: Installed(record))
    assert ourselves("/other/python") == ""


BY_NAME = re.compile(
    r"(?<![\w./-])aistack(-gateway)?\[\w"
    r"|pip3? install (?:(?!&&|[|;`]).)*(?<![\w./-])aistack(-gateway)?(?![\w./-])"
)


PAST = {"CHANGELOG.md", "openapi.released.json"}
"""What was said at its time."""


def test_nothing_tells_anybody_to_install_aistack_by_name() -> None:
    """On the package index that name is another project's, and ours is not there under any."""
    assert BY_NAME.search("pip install 'aistack[speech]'") and BY_NAME.search(
        "x -m pip install -U aistack"
    )
    kinds = {".py", ".md", ".cfg", ".toml", ".js", ".html", ".service", ".yaml", ".yml", ".json", ""}
    files = [path for name in ("aistack", "contrib", "docs", ".ci") for path in (ROOT / name).rglob("*")]
    files += ROOT.glob("*.md")
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()[:120]}"
        for path in files
        if path.suffix in kinds and path.is_file() and path.name not in PAST
        for line in path.read_text(encoding="utf-8").splitlines()
        if BY_NAME.search(line)
    ]
    assert found == []
