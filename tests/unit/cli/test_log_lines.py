"""`aistack logs` with files and pipes: what is shown of each line, and what is left alone."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aistack.cli import logs as cli_logs
from aistack.cli import main as cli
from aistack.cli.log_lines import parsed, shown
from aistack.observe.terminal import plain

TIME = "2026-11-20T17:44:02.123456Z"
DONE = {"timestamp": TIME, "level": "info", "service": "aistack", "message": "job.done", "rtf": 0.088785}
WORSE = {"timestamp": TIME, "level": "error", "message": "it broke", "request_id": "abc"}
ACCESS = {"ts": TIME, "method": "GET", "path": "/v1/\x1b]0;x\x07", "status": 500, "query": None}

Capture = pytest.CaptureFixture[str]


def test_a_line_in_words() -> None:
    assert shown(DONE, False) == "2026-11-20 17:44:02.123Z  info     job.done  rtf=0.088785"
    assert shown(ACCESS, False) == r"2026-11-20 17:44:02.123Z  error    GET /v1/\x1b]0;x\x07 500"


def test_colours_are_asked_for() -> None:
    assert shown(WORSE, True).startswith("\x1b[31m2026-11-20 17:44:02.123Z  error    it broke\x1b[0m  ")
    assert "\x1b" not in shown(WORSE, False)


def test_values() -> None:
    entry = {
        "message": "m",
        "empty": "",
        "words": 'say "so"',
        "list": ["a", 1],
        "none": None,
        "yes": True,
    }
    assert shown(entry, False) == (
        '-  info     m  empty=""  words="say \\"so\\""  list=["a", 1]  yes=true'
    )


def test_a_traceback_stands_below() -> None:
    entry = {"level": "error", "message": "m", "exception": "Traceback\n  File\x1b[2J\nValueError: no"}
    assert shown(entry, False).splitlines()[1:] == [
        "    Traceback",
        r"      File\x1b[2J",
        "    ValueError: no",
    ]


@pytest.mark.parametrize(
    "text", ["plain", "", "{broken", "[1]", "42", '"x"', "{" * 100_000, '{"a":' * 99_999]
)
def test_what_is_no_object(text: str) -> None:
    assert parsed(text) is None


def test_nothing_unprintable_passes() -> None:
    assert plain("wörld 日本 \t\n\x00\x9b\u202e\ud800") == r"wörld 日本 \t\n\x00\x9b\u202e\ud800"


def logs(given: bytes, *options: str) -> bytes:
    """What the command prints of its stdin, as bytes."""
    command = [sys.executable, "-m", "aistack", "logs", "-", *options]
    return subprocess.run(command, input=given, capture_output=True, check=True, timeout=60).stdout


def test_lines_that_are_no_json_pass_through_a_pipe_unharmed() -> None:
    foreign = b"  caf\xe9 \xff \x1b[1mbold\x1b[0m\t{not json}\n"
    given = foreign + json.dumps(DONE).encode() + b"\n" + b"no newline at the end"
    out = logs(given)
    assert out == foreign + (shown(DONE, False) + "\nno newline at the end\n").encode()


def test_level_request_and_number() -> None:
    given = "".join(f"{line}\n" for line in (json.dumps(DONE), "foreign", json.dumps(WORSE))).encode()
    assert b"job.done" not in (out := logs(given, "--level", "warning"))
    assert b"foreign" in out and b"it broke" in out
    assert logs(given, "--request", "abc").count(b"\n") == 1
    assert logs(given, "-n", "2") == b"foreign\n" + f"{shown(WORSE, False)}\n".encode()


def test_a_file_and_none(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(DONE) + "\n")
    assert cli.main(["logs", str(path)]) == 0
    assert capfdbinary.readouterr().out == f"{shown(DONE, False)}\n".encode()
    assert cli.main(["logs", str(tmp_path / "none")]) == 2
    assert b"No such file" in capfdbinary.readouterr().err


def test_a_terminal_is_shielded_from_foreign_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    printer = cli_logs.Printer("debug", None)
    assert printer.line(b"\x1b[2Jhello\tthere\xff\n") == "\\x1b[2Jhello\tthere\\udcff"
    assert (printer.line(json.dumps(WORSE).encode()) or "").startswith("\x1b[31m")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in (cli_logs.Printer("debug", None).line(json.dumps(WORSE).encode()) or "")


def test_a_file_is_followed_even_when_it_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\ntw")
    contents = iter([b"one\ntwo\n", b"3\n"])
    monkeypatch.setattr(time, "sleep", lambda _s: path.write_bytes(next(contents)))
    with path.open("rb") as file:
        lines = cli_logs._appended(file, str(path))
        assert [next(lines) for _ in range(3)] == [b"one\n", b"two\n", b"3\n"]
