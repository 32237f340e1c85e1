"""What came from outside cannot steer the terminal, through whichever command it gets there."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from aistack.cli import doctor as cli_doctor
from aistack.cli import main as cli
from aistack.cli import status as cli_status
from aistack.cli.exits import say, show
from aistack.cli.screen import start_screen
from aistack.cli.status_page import page
from aistack.cli.transcribe import table
from aistack.doctor import findings
from aistack.doctor.findings import Finding, FindingState
from aistack.observe.terminal import plain, plain_json
from aistack.observe.units import memory_size
from aistack.routing.notes import EngineNote
from tests.unit.cli.test_status_page import NOW, state
from tests.unit.observe.test_log import restored

__all__ = ["restored"]

Capture = pytest.CaptureFixture[str]

EVIL = "x\x1b[2J\x9b31m\u202ey"
"""An escape sequence, one in its short form, and a mark that turns the line around."""
SHOWN = r"x\x1b[2J\x9b31m\u202ey"


def harmless(text: str) -> bool:
    return all(each.isprintable() or each == "\n" for each in text)


def test_a_sentence(capsys: Capture) -> None:
    """What a server refused with, what a file is called, what a configuration says."""
    say(f"The server said: {EVIL}\nand more.")
    assert capsys.readouterr().err == f"aistack: The server said: {SHOWN}\\nand more.\n"


def test_a_result_on_a_terminal_and_in_a_pipe(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    show(f"{EVIL}\tb\nc\n")
    assert capsys.readouterr().out == f"{EVIL}\tb\nc\n", "a pipe gets what came"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    show(f"{EVIL}\tb\nc")
    assert capsys.readouterr().out == f"{SHOWN}\tb\nc\n"


def test_json_stays_the_same_value(capsys: Capture) -> None:
    value = {"a": [f"{EVIL}\x7f\U000e0001 wörld", "\x00\n"]}
    text = json.dumps(value, ensure_ascii=False, indent=2)
    assert not harmless(text)
    show(text, as_json=True)
    out = capsys.readouterr().out
    assert harmless(out) and json.loads(out) == value and "wörld" in out


def test_a_json_state(capsys: Capture) -> None:
    cli_status.shown(state(version=EVIL), "u", as_json=True, watch=False)
    out = capsys.readouterr().out
    assert harmless(out) and json.loads(out)["version"] == EVIL


def test_every_text_of_a_state() -> None:
    holder = {
        "op": EVIL,
        "model": EVIL,
        "request_id": EVIL,
        "step": EVIL,
        "since": NOW,
        "state_since": NOW,
        "progress": {"done": 1, "unit": EVIL},
    }
    entry = {"op": EVIL, "model": EVIL, "request_id": EVIL, "since": NOW, "patience_s": 30}
    ended = {**entry, "submitted": NOW, "ended": NOW, "outcome": EVIL, "code": EVIL}
    card = {"device": EVIL, "name": EVIL, "used_mb": 1, "total_mb": 2}
    process = {"engine": EVIL, "device": EVIL, "pid": EVIL}
    changes: dict[str, Any] = {
        "version": EVIL,
        "slots": [
            {"device": EVIL, "state": EVIL, "since": NOW, "holder": holder},
            {"device": "cpu", "state": "idle", "since": NOW, "resident": {"model": EVIL}},
        ],
        "line": {"places": EVIL, "line": [entry]},
        "memory": {"cards": [card], "processes": [process]},
        "timeline": {"jobs": [ended]},
    }
    assert harmless(page(state(**changes), EVIL, NOW))
    changes["memory"] = {"cards": [], "processes": [], "reason": EVIL}
    assert harmless(page(state(**changes), EVIL, NOW))


def test_a_table_of_models() -> None:
    models: list[dict[str, Any]] = [
        {"id": EVIL, "capabilities": [EVIL], "languages": [EVIL]},
        {"id": "b"},
    ]
    text = table(models)
    assert harmless(text)
    head, first, second = text.splitlines()
    assert first.startswith(SHOWN) and second.startswith("b ")
    assert head.index("DOES") == first.index(f"  {SHOWN}") + 2, "cells are aligned as they are shown"


def test_the_start_screen() -> None:
    notes = [EngineNote(EVIL, (EVIL,), remark=EVIL), EngineNote("b", install=EVIL)]
    assert harmless(start_screen(["127.0.0.1:1"], notes, keys=False))


def test_findings() -> None:
    found = [Finding("Engines", EVIL, FindingState.BROKEN, EVIL, help=EVIL)]
    text = findings.page(found)
    assert harmless(text) and text.count(SHOWN) >= 3


def test_a_finding_as_json(capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """The command itself, here with a configuration file that cannot be found."""

    async def nothing_else(*_: Any) -> list[Finding]:
        return []

    monkeypatch.setattr(cli_doctor, "_looked", nothing_else)
    path = tmp_path / EVIL
    assert cli.main(["doctor", "--json", "--config", str(path)]) == 1
    out = capsys.readouterr().out
    assert harmless(out) and EVIL in json.loads(out)["findings"][0]["says"]


def test_nothing_unprintable_passes() -> None:
    assert plain("wörld 日本 \t\n\x00\x9b\u202e\ud800") == r"wörld 日本 \t\n\x00\x9b\u202e\ud800"
    assert plain_json('{\n\t"\x9b"}') == '{\n\t"\\u009b"}'


def test_sizes() -> None:
    assert (memory_size(7.5 * 1024), memory_size(57.2)) == ("7.5 GiB", "57 MiB")
