"""The words of `aistack status`: times, amounts, and what came from outside."""

from __future__ import annotations

from typing import Any

import pytest

from aistack.cli.status_page import page, progress
from aistack.observe.units import span

NOW = 1_800_000_000.0


def state(**changes: Any) -> dict[str, Any]:
    return {
        "version": "1.2.3",
        "started": NOW - 3700,
        "mode": "serving",
        "slots": [{"device": "cuda:0", "state": "idle", "since": NOW - 5}],
        "line": {"places": 16, "line": []},
        "memory": {"cards": [], "reason": "No card.", "processes": []},
        "timeline": {"jobs": []},
        **changes,
    }


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0.0 s"),
        (2.34, "2.3 s"),
        (9.97, "10 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (3700, "1 h 1 min"),
        (200_000, "2 days"),
    ],
)
def test_spans(seconds: float, words: str) -> None:
    assert span(seconds) == words


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (None, ""),
        ({"done": 45, "unit": "s"}, "0:45 of audio"),
        (
            {"done": 45, "total": 190, "unit": "s", "share": 0.237, "eta_s": 12},
            "0:45 of 3:10 of audio (24%), about 12 s left",
        ),
        ({"done": 120e6, "total": 486e6, "unit": "bytes", "share": 0.25}, "120 MB of 486 MB (25%)"),
        ({"done": 12, "total": 512, "unit": "tokens"}, "12 of 512 tokens"),
    ],
)
def test_progress(told: dict[str, Any] | None, words: str) -> None:
    assert progress(told) == words


def test_an_idle_server() -> None:
    shown = page(state(), "http://here:1", NOW)
    assert shown.splitlines()[:4] == [
        "aistack 1.2.3 at http://here:1, up for 1 h 1 min",
        "",
        "Slots",
        "  cuda:0  idle for 5.0 s, no model in memory",
    ]
    assert "  empty\n" in shown and "none yet" in shown
    assert "STOPPING" in page(state(mode="draining"), "http://here:1", NOW)


def test_what_came_from_outside_cannot_steer_the_terminal() -> None:
    evil = "x\x1b[2J\u202e"
    holder = {
        "op": "chat",
        "model": evil,
        "request_id": evil,
        "step": "load",
        "since": NOW - 2,
        "state_since": NOW - 1,
    }
    slots = [{"device": "cpu", "state": "preparing", "since": NOW, "holder": holder}]
    entry = {"op": "chat", "model": evil, "request_id": evil, "since": NOW, "patience_s": 30}
    job = {**entry, "submitted": NOW, "ended": NOW + 1, "outcome": "failed", "code": evil}
    shown = page(
        state(slots=slots, line={"places": 2, "line": [entry]}, timeline={"jobs": [job]}, version=evil),
        evil,
        NOW,
    )
    assert "\x1b" not in shown and "\u202e" not in shown
    assert shown.count(r"x\x1b[2J\u202e") == 9
    assert "  cpu  preparing (load) for 1.0 s, has held the slot for 2.0 s\n" in shown


def test_memory_of_a_card() -> None:
    card = {"device": "cuda:0", "name": "Card", "total_mb": 12288, "used_mb": 3072, "ours_mb": 2048}
    processes = [{"pid": 7, "engine": "gateway", "rss_mb": 60.4}, {"pid": 8, "engine": "whisper"}]
    shown = page(state(memory={"cards": [card], "processes": processes}), "u", NOW)
    assert "  cuda:0   Card        3.0 GiB of 12.0 GiB in use  2.0 GiB by aistack" in shown
    assert "warm spare" in shown and "unknown" in shown
