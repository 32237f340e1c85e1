"""`aistack doctor` as a process of its own: a machine that is well, and one that is not."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from aistack.cli import doctor as cli_doctor
from aistack.cli import main as cli
from aistack.config import Config
from aistack.config.backends import WhisperSection
from aistack.doctor import engines as doctor_engines
from aistack.doctor.findings import GROUPS, Finding, FindingState
from aistack.engines import ENGINES
from aistack.routing.inventory import Inventory
from tests.http.pull.conftest import Running, command, environment, hub
from tests.unit.observe.test_log import restored

__all__ = ["hub", "restored"]

HEAVY = "parakeet, sensevoice, nanochat"
"""Their libraries take half a minute to load where they are installed: not looked at here."""


def by_name(text: str) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in json.loads(text)["findings"]}


def test_a_machine_that_is_well(hub: Running, tmp_path: Path) -> None:
    environ = environment(tmp_path, hub.double.url, AISTACK_SERVER__LISTEN="127.0.0.1:0")
    environ["AISTACK_ENGINES__DISABLED"] = HEAVY
    done = command(environ, "doctor")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.endswith("\nEverything that is configured works.\n")
    assert re.search(r"^  works    Faster-Whisper  faster-whisper \S+, ctranslate2 ", done.stdout, re.M)
    assert re.search(r"^  works    PocketSphinx    pocketsphinx ", done.stdout, re.M)
    assert re.search(r"^  note     parakeet        switched off by engines.disabled$", done.stdout, re.M)
    assert re.search(r"-> aistack pull whisper-small$", done.stdout, re.M)
    groups = re.findall(r"^([A-Z][\w ]+)$", done.stdout, re.M)
    assert groups == list(GROUPS)
    assert not re.search(r"Traceback|Error", done.stdout)


def test_a_machine_that_is_ill(hub: Running, tmp_path: Path) -> None:
    """A library that crashes when it is imported, a server that is configured and down, a bad port."""
    broken = tmp_path / "broken" / "faster_whisper"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("import ctypes\nctypes.string_at(0)\n")
    environ = environment(
        tmp_path,
        hub.double.url,
        AISTACK_SERVER__LISTEN="192.0.2.7:8003",
        AISTACK_OLLAMA__URL="http://127.0.0.1:9",
        AISTACK_ENGINES__DISABLED=HEAVY,
    )
    environ["PYTHONPATH"] = f"{tmp_path / 'broken'}:{environ['PYTHONPATH']}"
    done = command(environ, "doctor", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout)["ok"] is False
    found = by_name(done.stdout)
    assert {name for name, each in found.items() if each["state"] == "broken"} == {
        "Faster-Whisper",
        "192.0.2.7:8003",
        "Ollama",
    }
    assert "crashed while loading (SIGSEGV)" in found["Faster-Whisper"]["says"]
    assert found["PocketSphinx"]["state"] == "works", "the others are looked at all the same"


def test_a_configuration_that_is_invalid_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rest is then looked at with the defaults; here it is left out."""

    async def nothing(config: Config, begun: object) -> list[Finding]:
        assert config == Config()
        return []

    monkeypatch.setattr(cli_doctor, "_looked", nothing)
    file = tmp_path / "aistack.toml"
    file.write_text("[log]\nlevl = 1\n")
    assert cli.main(["doctor", "--config", str(file)]) == 1
    shown = capsys.readouterr().out
    assert re.search(r"^  BROKEN   settings  .*did you mean log\.level\.$", shown, re.M)
    assert cli.main(["doctor", "--json", "--config", str(file)]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_on_a_terminal_each_finding_is_shown_as_it_comes(capsys: pytest.CaptureFixture[str]) -> None:
    """Engines may come before the quick groups are whole, and after; nothing is lost or shown twice."""

    def engine(name: str) -> Finding:
        return Finding("Engines", name, FindingState.WORKS, "loaded")

    with cli_doctor.Live() as live:
        live.at("the machine")
        live.found([Finding("Configuration", "settings", FindingState.WORKS, "fine")])
        live.at("Quick")
        live.engine(engine("Quick"))
        assert capsys.readouterr().out == ""
        live.found([Finding("Disk", "uploads", FindingState.BROKEN, "full", "make room")])
        live.rest_is_engines()
        shown = capsys.readouterr().out
        groups = re.findall(r"^([A-Z]\w+)$", shown, re.M)
        assert groups == ["Configuration", "Disk", "Engines"]
        assert shown.endswith("\nEngines\n  works    Quick           loaded\n")
        live.at("Slow")
        live.engine(engine("Slow"))
        assert capsys.readouterr().out == "  works    Slow            loaded\n"


def test_what_is_still_looked_at_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with cli_doctor.Looking() as looking:
        looking.at("Parakeet")
        looking.at("SenseVoice")
        assert capsys.readouterr().err.endswith("checking Parakeet, SenseVoice ...")
        looking.engine(Finding("Engines", "SenseVoice", FindingState.WORKS, "loaded"))
        assert capsys.readouterr().err == "\r\x1b[Kchecking Parakeet ..."
    assert capsys.readouterr().err == "\r\x1b[K"


async def test_the_configured_interpreter_is_the_one_that_is_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`faster_whisper.python`: what is told is what that interpreter has, not what ours has."""
    own = tmp_path / "python"
    own.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -S -E "$@"\n')
    own.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor_engines, "real_engines", lambda: {"whisper": ENGINES["whisper"]})
    config = Config(whisper=WhisperSection(python=str(own)))
    begun: list[str] = []
    told: list[Finding] = []
    inventory = Inventory(config)
    found = await doctor_engines.engines(config, inventory, False, begun.append, told.append)
    assert found == told
    assert begun == ["Faster-Whisper"]
    assert found[0].state is FindingState.BROKEN
    assert found[0].says == f"aistack is not installed (in {own})"
