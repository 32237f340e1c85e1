"""The command line against a scripted service: what it sends, prints and exits with."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
import wave
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from aistack import __version__
from aistack.cli import client
from aistack.cli import main as cli
from aistack.cli.exits import BUSY, FAILED, STOPPED
from aistack.cli.screen import start_screen
from aistack.config.addresses import is_nowhere, is_open, url_of
from aistack.jobs.picture import states_page
from aistack.observe.units import clock
from aistack.routing.notes import EngineNote
from tests.doubles import stub_service
from tests.doubles.stub_service import HELLO, Script, delta, plain, refuse, stream
from tests.support.signals import as_at_a_terminal, as_in_the_background
from tests.unit.observe.test_log import restored

__all__ = ["restored"]

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No configuration of whoever runs the tests, and a port where nobody answers."""
    for name in [name for name in os.environ if name.startswith("AISTACK_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("APPDATA", str(tmp_path))
    monkeypatch.setenv("AISTACK_SERVER__LISTEN", "127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "aistack.service.serve", stub_service.install())


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    """Four seconds of silence."""
    path = tmp_path / "speech.wav"
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes(bytes(64_000))
    return path


@pytest.fixture
def script() -> Script:
    return Script([stream(*HELLO)])


@pytest.fixture
def server(script: Script) -> Iterator[str]:
    """The scripted service on a loop of its own; its URL."""
    loop = asyncio.new_event_loop()
    started: list[str] = []
    up = threading.Event()

    async def start() -> web.AppRunner:
        runner = web.AppRunner(script.app())
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        started.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        return runner

    def run() -> None:
        runner = loop.run_until_complete(start())
        up.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert up.wait(10)
    yield started[0]
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


def transcribe(audio: Path, *more: str) -> int:
    return cli.main(["transcribe", str(audio), *more])


# --- transcribe ---------------------------------------------------------------------------------------


def test_the_transcript_is_all_there_is_on_stdout(
    server: str, script: Script, audio: Path, capsys: Capture
) -> None:
    assert transcribe(audio, "--server", server, "--language", "en", "--translate") == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("Hello wörld.\n", "")
    (heard,) = script.heard
    assert heard == {
        "model": "auto",
        "response_format": "text",
        "language": "en",
        "translate": "true",
        "stream": "true",
        "file": audio.read_bytes(),
        "filename": "speech.wav",
        "prefer": "wait=60",
        "key": None,
    }


def test_a_server_on_the_configured_address_is_used(
    server: str, script: Script, audio: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("AISTACK_SERVER__LISTEN", server.removeprefix("http://"))
    monkeypatch.setenv("AISTACK_SERVER__API_KEYS", "first,second")
    assert transcribe(audio, "--format", "json", "--model", "whisper-tiny") == 0
    assert json.loads(capsys.readouterr().out) == {"text": "Hello wörld."}
    assert (script.heard[0]["key"], script.heard[0]["model"]) == ("Bearer first", "whisper-tiny")


def test_something_else_on_that_address_is_not_taken_for_us(
    server: str, script: Script, audio: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    script.health = {"hello": "I am a printer"}
    monkeypatch.setenv("AISTACK_SERVER__LISTEN", server.removeprefix("http://"))
    assert transcribe(audio) == 0
    assert capsys.readouterr().out == "Hello wörld.\n"
    assert not script.heard


def test_without_a_server_it_works_alone(audio: Path, capsys: Capture) -> None:
    assert transcribe(audio) == 0
    assert capsys.readouterr().out == "Hello wörld.\n"


def test_formats_that_only_the_server_makes_are_printed_as_they_come(
    server: str, script: Script, audio: Path, capsys: Capture
) -> None:
    script.answers = [plain("1\n00:00:00,000 --> 00:00:02,500\nHello\n\n")]
    assert transcribe(audio, "--server", server, "--format", "srt") == 0
    assert capsys.readouterr().out == "1\n00:00:00,000 --> 00:00:02,500\nHello\n\n"
    assert "stream" not in script.heard[0]


def test_a_busy_server_is_tried_again_as_it_asks(
    server: str, script: Script, audio: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    script.answers = [refuse(503, "Busy.", "5"), refuse(503, "Busy.", "7"), stream(*HELLO)]
    pauses: list[float] = []

    async def no_sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", no_sleep)
    assert transcribe(audio, "--server", server) == 0
    assert pauses == [5.0, 7.0]
    assert capsys.readouterr().out == "Hello wörld.\n"
    assert [len(heard["file"]) for heard in script.heard] == [len(audio.read_bytes())] * 3


def test_patience_ends(server: str, script: Script, audio: Path, capsys: Capture) -> None:
    script.answers = [refuse(503, "A chat is running.", "5")]
    assert transcribe(audio, "--server", server, "--wait", "0") == BUSY == 3
    assert capsys.readouterr().err == "aistack: A chat is running.\n"
    (heard,) = script.heard
    assert heard["prefer"] is None


FAILURES = [
    (refuse(400, "The file could not be read as audio."), "The file could not be read as audio."),
    (refuse(503, "Parakeet is not installed."), "Parakeet is not installed."),
    (plain("<html>", 502), "The server answered 502."),
    (stream(HELLO[1], {"type": "error", "error": {"message": "Out of memory."}}), "Out of memory."),
    (stream(*HELLO, cut=True), "The server's answer broke off before its end."),
    (stream(HELLO[1]), "The server's answer broke off before its end."),
]


@pytest.mark.parametrize(("answer", "says"), FAILURES)
def test_failures_are_the_servers_sentence_and_one(
    server: str, script: Script, audio: Path, capsys: Capture, answer: stub_service.Answer, says: str
) -> None:
    script.answers = [answer]
    assert transcribe(audio, "--server", server) == FAILED == 1
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"aistack: {says}\n")


def test_a_named_server_that_is_not_there(audio: Path, capsys: Capture) -> None:
    assert transcribe(audio, "--server", "http://127.0.0.1:1") == 4
    assert capsys.readouterr().err == "aistack: Cannot reach the server.\n"


def test_a_service_that_cannot_start_is_a_sentence(
    audio: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    async def broken(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys.modules["aistack.service.serve"], "run_service", broken)
    assert transcribe(audio) == 1
    assert capsys.readouterr().err == "aistack: No space left on device.\n"


def test_progress_is_seen_on_a_terminal_only(
    server: str, audio: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert transcribe(audio, "--server", server) == 0
    said = capsys.readouterr()
    assert "0:01 of 0:04 (25%)" in said.err
    assert said.err.endswith("\r\x1b[K")
    assert said.out == "Hello wörld.\n"


# --- usage --------------------------------------------------------------------------------------------

WRONG = [
    ["transcribe"],
    ["transcribe", "x.wav", "--format", "doc"],
    ["transcribe", "x.wav", "--server", "localhost:1"],
    ["transcribe", "x.wav", "--wait", "nan"],
    ["serve", "--port", "70000"],
    ["serve", "--port", "x"],
    ["nonsense"],
    [],
]


@pytest.mark.parametrize("argv", WRONG)
def test_wrong_usage_is_two(argv: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(argv)
    assert caught.value.code == 2
    assert "usage: aistack" in capsys.readouterr().err


def test_a_missing_file_is_two(tmp_path: Path, capsys: Capture) -> None:
    assert transcribe(tmp_path / "none.wav") == 2
    assert "none.wav: No such file or directory." in capsys.readouterr().err


@pytest.mark.parametrize("command", [["serve"], ["models"], ["transcribe", "x.wav"]])
def test_a_wrong_configuration_is_two(command: list[str], tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text("[slots]\nwait = 1\n")
    assert cli.main([*command, "--config", str(path)]) == 2
    assert "unknown setting slots.wait; did you mean slots.wait_s." in capsys.readouterr().err


def test_version(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"aistack {__version__}\n"


# --- models, sample-config, states --------------------------------------------------------------------


def test_models_in_columns(server: str, capsys: Capture) -> None:
    assert cli.main(["models", "--server", server]) == 0
    assert capsys.readouterr().out == (
        "ID            DOES  LANGUAGES          STREAMS  LOADED\n"
        "auto          asr   -                  no       -\n"
        "whisper-tiny  asr   en de fr it es +2  yes      yes\n"
    )


def test_models_alone_as_json(capsys: Capture) -> None:
    assert cli.main(["models", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["data"] == stub_service.MODELS


def test_sample_config_prints_the_sample(capsys: Capture) -> None:
    from aistack.config.sample import sample

    assert cli.main(["sample-config"]) == 0
    assert capsys.readouterr().out == sample()


def test_states_prints_the_page(capsys: Capture) -> None:
    assert cli.main(["states"]) == 0
    assert capsys.readouterr().out == states_page()


# --- pieces -------------------------------------------------------------------------------------------


async def test_events_however_the_bytes_are_cut() -> None:
    data = b": ping\n\n" + b"".join(
        b"data: " + json.dumps(delta("ä" * n, n)).encode() + b"\n\n" for n in range(4)
    )
    for size in (1, 2, 3, 50, len(data)):

        async def cut(size: int = size) -> Any:
            for start in range(0, len(data), size):
                yield data[start : start + size]

        assert [event["delta"] async for event in client.events(cut())] == ["", "ä", "ää", "äää"]


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (65.9, "1:05"), (3723, "1:02:03")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_start_screen() -> None:
    found = [
        EngineNote("Faster-Whisper", ("a", "b", "c", "d"), remark="weights on disk"),
        EngineNote("Parakeet", install="pip install 'aistack[parakeet]'"),
    ]
    screen = start_screen(["0.0.0.0:11500", "[::]:80"], found, keys=False)
    assert "  Console  http://127.0.0.1:11500/admin\n" in screen
    assert f"aistack {__version__} listens on http://127.0.0.1:11500, http://[::1]:80\n" in screen
    assert "+ Faster-Whisper  a, b, c and 1 more (weights on disk)\n" in screen
    assert "- Parakeet        not installed: pip install 'aistack[parakeet]'\n" in screen
    assert (
        "curl -F file=@contrib/samples/hello.wav http://127.0.0.1:11500/v1/audio/transcriptions\n"
        in screen
    )
    assert "no API key is required" in screen


def test_start_screen_with_keys_and_without_engines() -> None:
    screen = start_screen(["0.0.0.0:1"], [], keys=True)
    assert 'curl -H "Authorization: Bearer $AISTACK_KEY" -F file=@' in screen
    assert "no API key is required" not in screen
    assert "No engine is installed" in screen


def test_addresses_of_this_machine_only() -> None:
    assert [is_open(a) for a in ("127.0.0.1:1", "[::1]:1", "localhost:1", "0.0.0.0:1", "box.lan:1")] == [
        False,
        False,
        False,
        True,
        True,
    ]
    assert url_of("box.lan:1") == "http://box.lan:1"


# --- serve, in a process of its own -------------------------------------------------------------------


class Served:
    """`aistack serve` with the scripted service, its screen read."""

    def __init__(self, *argv: str, **env: str) -> None:
        with as_at_a_terminal():
            self._start(argv, env)

    @classmethod
    def in_the_background(cls, *argv: str) -> Served:
        """As a script starts it with `&`."""
        served = cls.__new__(cls)
        with as_in_the_background():
            served._start(argv, {})
        return served

    def _start(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.doubles.stub_service", "serve", *argv],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **env},
            cwd=Path(__file__).parents[3],
            start_new_session=True,
        )
        self.screen = ""

    def until(self, mark: str) -> str:
        """Read stderr up to a line with `mark`; the test's own timeout bounds it."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.screen += line
            if mark in line:
                break
        assert mark in self.screen
        return self.screen

    def end(self, *signals: signal.Signals) -> tuple[int, str, str]:
        for each in signals:
            self.process.send_signal(each)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


def messages(out: str) -> list[str]:
    """Every line of stdout must be a log line."""
    return [json.loads(line)["message"] for line in out.splitlines()]


@pytest.mark.interrupts
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_shows_its_screen_and_stops_on_a_signal(number: signal.Signals) -> None:
    served = Served("--port", "0", AISTACK_SEVER__LISTEN="typo")
    screen = served.until("Ctrl-C")
    address = re.search(r"listens on (http://127\.0\.0\.1:\d+)\n", screen)
    assert address is not None
    with urllib.request.urlopen(f"{address[1]}/health", timeout=10) as response:
        assert response.status == 200
    assert "+ Stub    stub-en\n  - Absent  not installed: pip install absent\n" in screen
    code, out, _ = served.end(number)
    assert code == 0
    assert messages(out) == ["unknown environment variable ignored", "listening", "stopping"]


@pytest.mark.interrupts
def test_a_second_ctrl_c_does_not_wait() -> None:
    served = Served("--port", "0", AISTACK_SLOTS__PRELOAD="stubborn")
    served.until("Ctrl-C")
    served.process.send_signal(signal.SIGINT)
    served.until("draining")
    code, _, _ = served.end(signal.SIGINT)
    assert code == STOPPED == 130


@pytest.mark.interrupts
def test_a_second_sigterm_leaves_the_drain_alone() -> None:
    served = Served("--port", "0", AISTACK_SLOTS__PRELOAD="stubborn")
    served.until("Ctrl-C")
    served.process.send_signal(signal.SIGTERM)
    served.until("draining")
    served.process.send_signal(signal.SIGTERM)
    code, out, _ = served.end(signal.SIGINT)
    assert code == 130
    assert messages(out).count("stopping") == 1


@pytest.mark.interrupts
def test_in_the_background_ctrl_c_is_not_meant_for_it() -> None:
    """SIGINT is ignored there from the start, and stays so; SIGTERM ends the service."""
    served = Served.in_the_background("--port", "0")
    address = re.search(r"listens on (\S+)", served.until("Ctrl-C"))
    assert address is not None
    served.process.send_signal(signal.SIGINT)
    with urllib.request.urlopen(f"{address[1]}/health", timeout=10) as response:
        assert response.status == 200
    code, out, _ = served.end(signal.SIGTERM)
    assert code == 0
    assert [json.loads(line).get("signal") for line in out.splitlines()] == [None, "SIGTERM"]


def test_a_port_in_use_is_one_sentence(server: str) -> None:
    code, _, err = Served("--port", server.rpartition(":")[2]).end()
    assert code == 1
    assert re.fullmatch(r"aistack: Cannot listen on 127\.0\.0\.1:\d+: the port is in use\. .*\n", err)


def test_an_address_of_another_machine_is_one_sentence() -> None:
    code, _, err = Served("--host", "192.0.2.1").end()
    assert code == 1
    assert re.fullmatch(
        r"aistack: Cannot listen on .*: this machine does not have that address\.\n", err
    )


@pytest.mark.parametrize(
    ("exc", "nowhere"),
    [
        (OSError(errno.EADDRNOTAVAIL, "cannot assign requested address"), True),
        (OSError("could not bind on any address out of [('192.0.2.1', 80)]"), True),  # Python 3.13
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), True),
        (OSError(errno.EADDRINUSE, "could not bind on any address"), False),
        (OSError("something else"), False),
    ],
)
def test_every_loops_way_to_say_that_an_address_is_not_here(exc: OSError, nowhere: bool) -> None:
    assert is_nowhere(exc) is nowhere


def test_a_closed_stdout_does_not_stop_the_service() -> None:
    served = Served("--port", "0")
    assert served.process.stdout is not None
    served.process.stdout.close()
    address = re.search(r"listens on (\S+)", served.until("Ctrl-C"))
    assert address is not None
    with urllib.request.urlopen(f"{address[1]}/health", timeout=10) as response:
        assert response.status == 200
    served.process.send_signal(signal.SIGTERM)
    assert served.process.stderr is not None
    err = served.process.stderr.read()
    assert served.process.wait(30) == 0
    assert "Traceback" not in err
    served.process.stderr.close()


def test_output_into_a_closed_pipe_is_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "aistack", "sample-config"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
        timeout=60,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
