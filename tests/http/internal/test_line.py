"""Callers beside each other on one slot: the line, who leaves it, and what is said meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aistack.config import Config
from tests.http.gateway.service import Gates, Service
from tests.http.internal.talk import ADA, COUNT, WHO, ask, begin, refused, serving, stats, text_of, until


@pytest.fixture(scope="module")
def brisk_(environment: Path) -> Iterator[Service]:
    """Impatient: half a second in line; headers and comments after a tenth."""
    slots = {"open_after_s": 0.1, "heartbeat_s": 0.1}
    with serving(environment / "brisk", slots=slots, inference={"wait_s": 0.5}) as service:
        yield service


@pytest.fixture
def brisk(brisk_: Service) -> Iterator[Service]:
    yield brisk_
    brisk_.quiet()


def in_line(service: Service, count: int) -> None:
    until(service, lambda: stats(service)["queue_depth"] == count, f"{count} in line")


def test_b55_three_at_once_on_one_slot_are_served_in_order(service: Service, gates: Gates) -> None:
    calls = []
    for place in range(3):
        calls.append(begin(service, f"@gate:{place}", COUNT))
        if place == 0:
            first = gates.entered("0")
        in_line(service, place)
    passes = [first]
    for place, call in enumerate(calls):
        if place:
            passes.append(gates.entered(str(place)))
        told = stats(service)
        assert (told["busy_workers"], told["active_generations"]) == (1, 1)
        assert told["queue_depth"] == 2 - place
        passes[place]()
        assert text_of(call.answer()) == ADA[COUNT]


def test_b57_a_client_that_closes_in_mid_stream_frees_the_slot(service: Service, gates: Gates) -> None:
    """The engine stands at a gate that nobody opens: only the cancel can have freed the slot."""
    since = service.mark
    call = begin(service, "@gate:left", COUNT)
    gates.entered("left")
    next(call.events())
    call.close()
    assert service.ended(since) == "cancelled"
    service.quiet()
    told = stats(service)
    assert (told["busy_workers"], told["workers"][0]["resident"]) == (0, "tiny-ada"), "not killed"
    assert ask(service, WHO) == ADA[WHO]


def test_b58_a_client_that_closes_in_line_never_starts(service: Service, gates: Gates) -> None:
    call = begin(service, "@gate:hold", COUNT)
    let_pass = gates.entered("hold")
    since = service.mark
    waiting = begin(service, WHO)
    in_line(service, 1)
    waiting.close()
    gone = service.reached("done", since).job
    assert gone.outcome is not None
    assert (gone.outcome.kind.value, gone.ran, gone.granted) == ("cancelled", None, None)
    let_pass()
    assert text_of(call.answer()) == ADA[COUNT]


def test_b59_who_waits_too_long_is_told_to_come_again(brisk: Service, gates: Gates) -> None:
    call = begin(brisk, "@gate:slow", COUNT)
    let_pass = gates.entered("slow")
    answer = begin(brisk, WHO).answer()
    refused(answer, 503, "slot_busy")
    assert answer.headers["retry-after"] == "5"
    assert answer.error["holder"]["op"] == "generate"
    let_pass()
    assert text_of(call.answer()) == ADA[COUNT]


def test_b60_a_slow_stream_sends_signs_of_life(brisk: Service, gates: Gates) -> None:
    """Before its first token: the headers, then comments; and the answer after them is whole."""
    call = begin(brisk, "@hold:quiet", WHO)
    let_pass = gates.entered("quiet")
    assert call.response.status == 200, "the headers came first"
    for _ in range(2):
        line = call.response.readline()
        while line in (b"\n", b"\r\n"):
            line = call.response.readline()
        assert line.startswith(b":")
    let_pass()
    events = list(call.events())
    call.close()
    assert events[-1] == {"done": True}
    assert "".join(event.get("token", "") for event in events) == ADA[WHO]


def test_b60_a_caller_hears_something_within_sixty_seconds() -> None:
    """In line: a refusal; after it: the headers, then comments. The consumer gives up after 60 s."""
    config = Config()
    assert config.inference.wait_s + config.slots.open_after_s < 60
    assert config.slots.heartbeat_s < 60
