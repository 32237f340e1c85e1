"""Log lines: their keys, whose they are, and that no reader of stdout can hurt a request."""

from __future__ import annotations

import errno
import json
import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from aistack.chunks import Transcript
from aistack.config import LogSection
from aistack.jobs import Outcome, OutcomeKind, Phase
from aistack.observe import log
from aistack.observe.job_log import log_transition
from aistack.observe.log_ring import RING
from aistack.observe.log_sink import Sink
from tests.unit.observe.test_job_line import done

Lines = Callable[..., list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Every test leaves logging as it found it."""
    root = logging.getLogger()
    level, ours = root.level, logging.getLogger("aistack").level
    yield
    log.close()
    root.setLevel(level)
    logging.getLogger("aistack").setLevel(ours)
    structlog.reset_defaults()


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Lines]:
    """Configure, run something, and get what was written."""
    path = tmp_path / "log"
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def run(do: Callable[[], object], **settings: Any) -> list[dict[str, Any]]:
        log.configure(LogSection(**{"format": "json", **settings}), fd)
        do()
        log.close()
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    yield run
    os.close(fd)


def test_keys_of_every_line(lines: Lines) -> None:
    def do() -> None:
        with structlog.contextvars.bound_contextvars(request_id="r1"):
            structlog.get_logger("aistack.x").info("hello", count=1)
            logging.getLogger("some.library").warning("seen %d", 2)

    ours, theirs = lines(do)
    assert list(ours)[:4] == ["timestamp", "level", "service", "message"]
    assert ours["timestamp"].endswith("Z")
    assert (ours["level"], ours["service"], ours["message"]) == ("info", "aistack", "hello")
    assert (ours["request_id"], ours["count"], ours["logger"]) == ("r1", 1, "aistack.x")
    assert (theirs["level"], theirs["service"], theirs["message"]) == ("warning", "aistack", "seen 2")
    assert (theirs["request_id"], theirs["logger"]) == ("r1", "some.library")


def chatter() -> None:
    """One line per level, from us and from a library."""
    for level in ("debug", "info", "warning", "error"):
        getattr(structlog.get_logger("aistack.x"), level)(f"our {level}")
        getattr(logging.getLogger("some.library"), level)(f"their {level}")


HEARD = [
    ("debug", "our debug, our info, their info, our warning, their warning, our error, their error"),
    ("info", "our info, our warning, their warning, our error, their error"),
    ("warning", "our warning, their warning, our error, their error"),
    ("error", "our error, their error"),
]


@pytest.mark.parametrize(("level", "heard"), HEARD)
def test_who_is_heard_at_which_level(lines: Lines, level: str, heard: str) -> None:
    assert ", ".join(line["message"] for line in lines(chatter, level=level)) == heard


def test_warnings_and_exceptions_are_lines(lines: Lines) -> None:
    def do() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(True)
            warnings.warn("deprecated thing", stacklevel=1)
            logging.captureWarnings(False)
        try:
            raise RuntimeError("broken thing")
        except RuntimeError:
            structlog.get_logger("aistack.x").exception("failed")

    warned, failed = lines(do)
    assert "deprecated thing" in warned["message"]
    assert failed["exception"].startswith("Traceback")
    assert "RuntimeError: broken thing" in failed["exception"]


def test_values_that_json_does_not_know(lines: Lines) -> None:
    odd = {"nan": float("nan"), "deep": [float("inf")], "data": b"x", "half": "\udc80", "nl": "a\nb"}
    (line,) = lines(lambda: structlog.get_logger("aistack.x").info("odd", **odd))
    assert line["nan"] == "nan"
    assert line["deep"] == ["inf"]
    assert (line["half"], line["nl"]) == ("\udc80", "a\nb")


EVIL = "/x\x1b[2J\x9b31m\u202ey"
SHOWN = r"/x\x1b[2J\x9b31m\u202ey"


class Sly:
    """A value that shows itself with control characters."""

    def __repr__(self) -> str:
        return EVIL


def broken() -> None:
    try:
        raise RuntimeError(f"no such file {EVIL}")
    except RuntimeError:
        structlog.get_logger("aistack.x").exception("failed")
        logging.getLogger("some.library").exception("failed too")


DOORS: dict[str, Callable[[], object]] = {
    "a library's message": lambda: logging.getLogger("lib").warning("bad path %s", EVIL),
    "a message of ours": lambda: structlog.get_logger("aistack.x").warning(f"bad path {EVIL}"),
    "a value": lambda: structlog.get_logger("aistack.x").info("hello", path=EVIL),
    "a value's own words": lambda: structlog.get_logger("aistack.x").info("hello", value=[Sly()]),
    "a key": lambda: structlog.get_logger("aistack.x").info("hello", **{EVIL: 1}),
    "a logger's name": lambda: logging.getLogger(f"lib.{EVIL}").warning("hello"),
    "an exception": broken,
    "a stack": lambda: logging.getLogger("lib").warning("hello", extra={}, stack_info=True),
    "a warning": lambda: warnings.warn(f"deprecated {EVIL}", stacklevel=1),
}


@pytest.mark.parametrize("door", DOORS)
def test_pretty_lines_cannot_steer_the_terminal(door: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        log.configure(LogSection(level="info", format="pretty"), fd)
        DOORS[door]()
        log.close()
    os.close(fd)
    text = path.read_text()
    assert all(each.isprintable() or each in "\n\t" for each in text), text
    assert text and (door == "a stack" or SHOWN in text.replace("\\\\", "\\"))
    if door == "an exception":
        assert text.count("\nRuntimeError: no such file ") == 2, "a traceback keeps its lines"


def test_json_lines_hold_what_was_said(lines: Lines) -> None:
    (line,) = lines(DOORS["a library's message"])
    assert line["message"] == f"bad path {EVIL}"


def test_a_line_of_a_library_is_the_same_in_the_log_and_in_the_ring(lines: Lines) -> None:
    before = RING.count
    (line,) = lines(lambda: logging.getLogger("lib").warning("seen"))
    assert [json.loads(kept) for kept in RING.last(9, after=before)[0]] == [line]


def test_a_job_is_one_done_line_and_transitions_at_debug_only(lines: Lines) -> None:
    last = done(
        Outcome(OutcomeKind.OK), granted=10.0, ran=10.0, result=Transcript("en", 5.0, "words", 2)
    )
    (line,) = lines(lambda: log_transition(last))
    assert (line["message"], line["level"]) == ("job.done", "info")
    assert (line["job_id"], line["request_id"], line["rtf"]) == ("j1", "r1", 2.0)


def test_a_transition_line_at_debug(lines: Lines) -> None:
    last = done(Outcome(OutcomeKind.OK))
    moved, ended = lines(lambda: log_transition(last), level="debug")
    assert (moved["message"], moved["level"], moved["event"]) == ("job.transition", "debug", "Finished")
    assert (moved["from"], moved["to"]) == (Phase.RUNNING.value, "done")
    assert ended["message"] == "job.done"


def test_configuring_again_does_not_double_lines(lines: Lines) -> None:
    log.configure(LogSection())
    assert len(lines(lambda: structlog.get_logger("aistack.x").info("once"))) == 1


# --- readers that misbehave ----------------------------------------------------------------------------


def test_a_reader_that_left_costs_lines_not_requests(capsys: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    sink = log.configure(LogSection(format="json"), writing)
    for number in range(3):
        structlog.get_logger("aistack.x").info("into the void", number=number)
        sink.flush()
    log.close()
    os.close(writing)
    assert capsys.readouterr().err.count("log lines cannot be written (Broken pipe)") == 1


def test_a_full_disk_costs_lines_and_their_number_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    room = os.open(path, os.O_CREAT | os.O_WRONLY)
    write, full = os.write, True

    def small_disk(fd: int, data: bytes) -> int:
        if fd == room and full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data)

    monkeypatch.setattr("aistack.observe.log_sink.os.write", small_disk)
    sink = log.configure(LogSection(format="json"), room)
    for _ in range(3):
        structlog.get_logger("aistack.x").info("no room")
        sink.flush()
    full = False
    structlog.get_logger("aistack.x").info("room again")
    log.close()
    os.close(room)
    told, again = [json.loads(line) for line in path.read_text().splitlines()]
    assert (told["message"], told["lost"]) == ("log lines were lost", 3)
    assert again["message"] == "room again"


def test_a_reader_that_stopped_reading_blocks_nobody() -> None:
    """The pipe is full and the room in memory too: lines are dropped, the caller goes on."""
    reading, writing = os.pipe()
    sink = Sink(writing, room=8)
    logged = threading.Event()

    def log_many() -> None:
        for _ in range(50):
            sink.write("x" * 70_000)
        logged.set()

    threading.Thread(target=log_many, daemon=True).start()
    assert logged.wait(10), "a log call waited for the reader"
    assert sink.lost >= 40
    gone = threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(reading, 1 << 16), b"")])
    gone.start()
    sink.close()
    os.close(writing)
    gone.join(10)
    os.close(reading)


def test_lines_of_a_moment_are_written_together_and_a_warning_at_once() -> None:
    reading, writing = os.pipe()
    sink = Sink(writing, linger_s=600)
    sink.write("one")
    sink.write("two")
    sink.write("three", hurry=True)
    assert os.read(reading, 100) == b"one\ntwo\nthree\n"
    sink.write("four")
    sink.close()
    assert os.read(reading, 100) == b"four\n"
    os.close(writing)
    os.close(reading)


def test_a_line_of_ours_that_cannot_be_shown_raises_nothing(lines: Lines) -> None:
    class Bad:
        def __repr__(self) -> str:
            raise ValueError("user words")

    (line,) = lines(lambda: structlog.get_logger("aistack.x").info("odd", bad=Bad()))
    assert (line["message"], line["logger"]) == ("a log line could not be formatted", "aistack.x")


def test_a_line_that_cannot_be_formatted_raises_nothing_and_tells_no_arguments(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log"
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    before = RING.count
    log.configure(LogSection(format="json"), fd)
    (ours,) = [each for each in logging.getLogger().handlers if isinstance(each, log._Records)]
    ours.handle(logging.LogRecord("some.library", logging.WARNING, "", 0, "%d", ("user words",), None))
    log.close()
    os.close(fd)
    (line,) = [json.loads(line) for line in path.read_text().splitlines()]
    assert (line["message"], line["logger"]) == ("a log line could not be formatted", "some.library")
    assert "user words" not in path.read_text() + capsys.readouterr().err
    assert [json.loads(kept) for kept in RING.last(9, after=before)[0]] == [line]


@pytest.mark.parametrize("shown", ["json", "pretty"])
def test_the_ring_keeps_lines_as_json_however_they_are_shown(shown: str, lines: Lines) -> None:
    def run() -> None:
        logger = structlog.get_logger("aistack.somewhere")
        logger.info("ours", figure=7)
        logger.debug("http.access", path="/admin/api/state")
        logging.getLogger("theirs").warning("of a library")

    before = RING.count
    if shown == "json":
        lines(run, level="debug")
    else:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        log.configure(LogSection(level="debug", format="pretty"), nowhere)
        run()
        log.close()
        os.close(nowhere)
    kept = [json.loads(line) for line in RING.last(500, after=before)[0]]
    assert [line["message"] for line in kept] == ["ours", "of a library"]
    assert (kept[0]["figure"], kept[0]["level"]) == (7, "info")
