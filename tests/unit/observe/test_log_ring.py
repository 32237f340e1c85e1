"""The ring of log lines: bounded in lines and in their length, numbered, and not filled by looking."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from structlog.stdlib import ProcessorFormatter

from aistack.observe.log_ring import LINE_MAX, Ring


@pytest.fixture
def ring() -> Ring:
    ring = Ring(5)
    ring.setFormatter(logging.Formatter("%(message)s"))
    return ring


def say(ring: Ring, message: Any, level: int = logging.INFO) -> None:
    ring.handle(logging.LogRecord("aistack", level, __file__, 1, message, (), None))


def test_the_last_lines_in_order(ring: Ring) -> None:
    for number in range(8):
        say(ring, f'{{"n":{number}}}')
    assert ring.last(500) == ([f'{{"n":{number}}}' for number in range(3, 8)], 8)
    assert ring.last(2) == (['{"n":6}', '{"n":7}'], 8)


def test_only_what_came_after_a_line(ring: Ring) -> None:
    for number in range(8):
        say(ring, str(number))
    assert ring.last(500, after=6) == (["6", "7"], 8)
    assert ring.last(1, after=6) == (["7"], 8)
    assert ring.last(500, after=8) == ([], 8)
    assert ring.last(500, after=1) == (["3", "4", "5", "6", "7"], 8), "the rest is forgotten"
    assert ring.last(500, after=99) == ([], 8), "a number of before a restart"


def test_a_huge_line_is_cut_and_still_json(ring: Ring) -> None:
    say(ring, json.dumps({"level": "error", "message": "x", "exception": "é" * 10 * LINE_MAX}))
    ((line,), _) = ring.last(1)
    assert len(line) < LINE_MAX
    told = json.loads(line)
    assert (told["level"], told["message"], told["cut"]) == ("error", "x", True)
    say(ring, "no json " * LINE_MAX)
    assert json.loads(ring.last(1)[0][0])["cut"] is True


def test_a_line_that_cannot_be_formatted_is_told(ring: Ring) -> None:
    class Unprintable(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            raise RuntimeError

    ring.setFormatter(Unprintable())
    say(ring, "x")
    assert json.loads(ring.last(1)[0][0])["level"] == "warning"


def test_looking_at_the_console_leaves_no_line(ring: Ring) -> None:
    ring.setFormatter(ProcessorFormatter(processor=lambda _, __, event: json.dumps(event, default=str)))
    say(ring, {"event": "http.access", "path": "/admin/api/state"}, logging.DEBUG)
    assert ring.count == 0
    say(ring, {"event": "http.access", "path": "/admin/api/models/load"})
    say(ring, {"event": "http.access", "path": "/v1/models"}, logging.DEBUG)
    assert ring.count == 2
