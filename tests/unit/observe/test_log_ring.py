"""The ring of log lines: bounded in lines and in their length, numbered, and not filled by looking."""

from __future__ import annotations

import json

import pytest

from aistack.observe.log_ring import LINE_MAX, Ring, of_console


@pytest.fixture
def ring() -> Ring:
    return Ring(5)


def test_the_last_lines_in_order(ring: Ring) -> None:
    for number in range(8):
        ring.keep(f'{{"n":{number}}}')
    assert ring.last(500) == ([f'{{"n":{number}}}' for number in range(3, 8)], 8)
    assert ring.last(2) == (['{"n":6}', '{"n":7}'], 8)


def test_only_what_came_after_a_line(ring: Ring) -> None:
    for number in range(8):
        ring.keep(str(number))
    assert ring.last(500, after=6) == (["6", "7"], 8)
    assert ring.last(1, after=6) == (["7"], 8)
    assert ring.last(500, after=8) == ([], 8)
    assert ring.last(500, after=1) == (["3", "4", "5", "6", "7"], 8), "the rest is forgotten"
    assert ring.last(500, after=99) == ([], 8), "a number of before a restart"


def test_a_huge_line_is_cut_and_still_json(ring: Ring) -> None:
    ring.keep(json.dumps({"level": "error", "message": "x", "exception": "é" * 10 * LINE_MAX}))
    ((line,), _) = ring.last(1)
    assert len(line) < LINE_MAX
    told = json.loads(line)
    assert (told["level"], told["message"], told["cut"]) == ("error", "x", True)
    ring.keep("no json " * LINE_MAX)
    assert json.loads(ring.last(1)[0][0])["cut"] is True


def test_what_the_console_asks_is_known() -> None:
    assert of_console("debug", {"event": "http.access", "path": "/admin/api/state"})
    assert not of_console("info", {"event": "http.access", "path": "/admin/api/models/load"})
    assert not of_console("debug", {"event": "http.access", "path": "/v1/models"})
    assert not of_console("debug", {"event": "elsewhere"})
