"""`aistack status` and `aistack logs` with a real service: idle, busy with a line, gone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import structlog

from aistack.cli import main as cli
from aistack.observe.log_ring import RING
from tests.doubles.engines import FAMILIES
from tests.http.gateway.client import BOUND_S
from tests.http.gateway.service import Gates, Service, running
from tests.http.gateway.test_admin import logged
from tests.support.listening import ROOT
from tests.support.signals import as_at_a_terminal

__all__ = ["logged"]

SAY = {"say": "one two", "end": 1}
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def quietly(logged: None) -> None:
    """The service's log goes to its ring and not among what the commands print."""


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No configuration of whoever runs the tests, and a port where nobody answers."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("AISTACK_SERVER__LISTEN", "127.0.0.1:1")


def url(service: Service) -> str:
    return f"http://127.0.0.1:{service.port}"


def test_status_idle_then_busy_with_a_line(fakes: Service, gates: Gates, capsys: Capture) -> None:
    assert cli.main(["status", "--server", url(fakes)]) == 0
    idle = capsys.readouterr().out
    assert f"at {url(fakes)}, up for " in idle
    assert "Queue (0 of 16 places in use)\n  empty\n" in idle
    call = fakes.begin({"gate": "a"}, SAY, headers={"X-Request-ID": "the-first"})
    let_pass = gates.entered()
    since = fakes.mark
    second = fakes.begin(SAY, headers={"X-Request-ID": "the-second", "Prefer": "wait=30"})
    fakes.reached("waiting", since)
    assert cli.main(["status", "--server", url(fakes)]) == 0
    busy = capsys.readouterr().out
    _, _, slots = busy.partition("\nSlots\n")
    slot, work, *_ = slots.splitlines()
    assert slot.startswith("  cpu  running for ") and ", has held the slot for " in slot
    assert work.startswith("       transcribe with whisper-small")
    assert work.endswith("; request the-first")
    assert "Queue (1 of 16 places in use)" in busy
    assert "gives up after 30 s" in busy and "request the-second" in busy
    assert cli.main(["status", "--json", "--server", url(fakes)]) == 0
    state = json.loads(capsys.readouterr().out)
    assert state["slots"][0]["holder"]["request_id"] == "the-first"
    let_pass()
    assert call.answer().status == second.answer().status == 200
    fakes.quiet()
    assert cli.main(["status", "--server", url(fakes)]) == 0
    after = capsys.readouterr().out
    assert after.index("request the-second") < after.index("request the-first"), "newest first"


def test_status_watched_until_the_server_goes(environment: Path) -> None:
    """As JSON, an object per line; then a sentence, and the code that says no server."""
    with running(environment / "watched-status", FAMILIES) as service:
        process = subprocess.Popen(
            [sys.executable, "-m", "aistack", "status", "--watch", "--json", "--server", url(service)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        for _ in range(2):
            assert json.loads(process.stdout.readline())["mode"] == "serving"
    _, said = process.communicate(timeout=BOUND_S)
    assert process.returncode == 4
    assert said.startswith("aistack: ") and url(service) in said
    assert "Traceback" not in said


@pytest.mark.parametrize("command", ["status", "logs"])
def test_no_server_is_four_and_says_how_to_start_one(command: str, capsys: Capture) -> None:
    assert cli.main([command]) == 4
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        "aistack: No server answers at http://127.0.0.1:1. `aistack serve` starts one; "
        "--server URL names another.\n"
    )


def test_keys(environment: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    with running(environment / "keyed", FAMILIES, server={"api_keys": ("secret",)}) as service:
        assert cli.main(["status", "--server", url(service)]) == 1
        said = capsys.readouterr().err
        assert "AISTACK_SERVER__API_KEYS" in said and "secret" not in said
        monkeypatch.setenv("AISTACK_SERVER__API_KEYS", "secret")
        assert cli.main(["status", "--server", url(service)]) == 0
        monkeypatch.setenv("AISTACK_SERVER__LISTEN", f"127.0.0.1:{service.port}")
        assert cli.main(["logs"]) == 0, "the configured address is the default"


def test_logs_of_a_server(fakes: Service, capsys: Capture) -> None:
    logger = structlog.get_logger("aistack.test")
    logger.info("something", request_id="abc", path="/x\x1b[2J\u202e")
    logger.warning("something worse", request_id="def")
    assert cli.main(["logs", "--server", url(fakes)]) == 0
    shown = capsys.readouterr().out
    assert r"info     something  request_id=abc  path=/x\x1b[2J\u202e" in shown
    assert "\x1b" not in shown and "\u202e" not in shown
    assert cli.main(["logs", "--server", url(fakes), "--level", "warning", "-n", "1"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert "something worse" in line
    assert cli.main(["logs", "--server", url(fakes), "--request", "abc"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert "request_id=abc" in line


@pytest.fixture
def following(fakes: Service) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "aistack", "logs", "--follow", "--server", url(fakes)],
        cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate(timeout=BOUND_S)


def test_logs_are_followed(following: subprocess.Popen[str]) -> None:
    said = threading.Event()

    def reads(word: str) -> None:
        assert following.stdout is not None
        while word not in following.stdout.readline():
            assert following.poll() is None
        said.set()

    for word in ("now", "and-later"):
        said.clear()
        reader = threading.Thread(target=reads, args=(word,))
        RING.keep(json.dumps({"level": "info", "message": word}))
        reader.start()
        assert said.wait(BOUND_S)
        reader.join(BOUND_S)


@pytest.mark.parametrize(
    ("status", "body"), [(200, b"<html>"), (404, b'{"detail": "no"}'), (200, b"[]")]
)
def test_something_else_answers_there(status: int, body: bytes, capsys: Capture) -> None:
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        where = f"http://127.0.0.1:{other.server_address[1]}"
        code = cli.main(["status", "--server", where])
        other.shutdown()
        thread.join(BOUND_S)
    assert code == 4
    said = capsys.readouterr().err
    assert said == f"aistack: The server at {where} is not aistack, or is an older version.\n"


@pytest.mark.interrupts
@pytest.mark.parametrize("command", [("status", "--watch"), ("logs", "--follow")])
def test_ctrl_c_ends_it_without_a_word(fakes: Service, command: tuple[str, str]) -> None:
    RING.keep(json.dumps({"level": "info", "message": "so that there is a line"}))
    with as_at_a_terminal():
        process = subprocess.Popen(
            [sys.executable, "-m", "aistack", *command, "--server", url(fakes)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=BOUND_S)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, said) == (130, b"")
