"""The service stops: who is refused, who may finish, who is stopped, and what is never begun."""

from __future__ import annotations

from collections.abc import Callable

from aistack.errors import Code
from aistack.jobs import Mode, OutcomeKind
from aistack.jobs import effects as do
from tests.unit.jobs import build as b
from tests.unit.jobs.build import OLD, PARAKEET, WHISPER
from tests.unit.jobs.conftest import Walk

Start = Callable[..., Walk]


def test_the_line_is_emptied_and_the_holder_goes_on(walk: Start) -> None:
    w = walk(WHISPER)
    w.new(b.listen("a"))
    w.new(b.listen("p", max_wait_s=9))
    w.new(b.chat("q", max_wait_s=9))
    assert w("drain") == "Respond(p) Discard(p) Respond(q) Discard(q)"
    assert w.snapshot.mode is Mode.DRAINING
    assert w.ended["p"].kind is OutcomeKind.REVOKED and w.fault("p").code is Code.SHUTTING_DOWN
    assert ("Retry-After", "5") in w.latest("p", do.Respond).answer.headers
    assert w("finish", "a") == "Respond(a) Discard(a)"
    assert w.ended["a"].kind is OutcomeKind.OK


def test_a_holder_that_prepares_may_still_run(walk: Start) -> None:
    w = walk(WHISPER)
    w.new(b.listen("a", PARAKEET))
    w("drain")
    w("evicted", "a")
    assert w("loaded", "a") == "Run(a)"
    assert w("finish", "a") == "Respond(a) Discard(a)"


def test_when_the_grace_is_over_everybody_is_told_and_stopped(walk: Start) -> None:
    w = walk(WHISPER, PARAKEET, None)
    w.new(b.listen("a"))
    w.new(b.listen("s", PARAKEET, b.STREAM))
    w("produce", "s")
    w.new(b.listen("l", OLD))
    w("drain")
    told = w("drain expired")
    assert told == "Respond(a) Cancel(a) Emit(s) CloseStream(s) Cancel(s) Respond(l) Cancel(l)"
    assert [w.where(job_id) for job_id in "asl"] == ["cancelled"] * 3
    assert w.latest("s", do.Emit).frame == b"fault shutting_down"
    assert w("drain expired") == "", "once is enough"
    assert w("stopped", "a") == "Discard(a)"
    assert w("killed", "s") == "Discard(s)"
    assert w("evicted", "l") == "Discard(l)"
    assert {w.ended[job_id].kind for job_id in "asl"} == {OutcomeKind.REVOKED}
    assert w.fault("a").code is Code.SHUTTING_DOWN


def test_an_answer_that_comes_after_the_grace_is_dropped(walk: Start) -> None:
    w = walk(WHISPER)
    w.new(b.listen("a"))
    w("drain")
    w("drain expired")
    assert w("finish", "a") == "Discard(a)"
    assert w.ended["a"].kind is OutcomeKind.REVOKED


def test_one_who_left_before_stays_cancelled(walk: Start) -> None:
    w = walk(WHISPER)
    w.new(b.listen("a"))
    w("gone", "a")
    w("drain")
    assert w("drain expired") == ""
    w("stopped", "a")
    assert w.ended["a"].kind is OutcomeKind.CANCELLED


def test_a_swap_in_line_is_revoked(walk: Start) -> None:
    w = walk(OLD, selected=OLD)
    w.new(b.generate("g"))
    w.new(b.swap("s"))
    assert w("drain") == "Discard(s)"
    assert w.ended["s"].kind is OutcomeKind.REVOKED and w.snapshot.selected == OLD


def test_a_swap_of_several_cards_begins_no_further_one(walk: Start) -> None:
    """It went back into the queue, where DrainExpired met a refusal, and nobody at all was stopped."""
    w = walk(OLD, OLD, selected=OLD)
    w.new(b.generate("g"))
    w("produce", "g")
    w.new(b.swap("s"))
    w("drain")
    w("evicted", "s")
    assert w("loaded", "s") == "Discard(s)"
    assert w.ended["s"].kind is OutcomeKind.REVOKED and w.fault("s").code is Code.SHUTTING_DOWN
    assert w.snapshot.selected == OLD
    assert w("drain expired") == "Emit(g) CloseStream(g) Cancel(g)"


def test_a_swap_that_is_on_its_last_card_may_finish(walk: Start) -> None:
    w = walk(OLD, selected=OLD)
    w.new(b.swap("s"))
    w("drain")
    w("evicted", "s")
    assert w("loaded", "s") == "Discard(s)"
    assert w.ended["s"].kind is OutcomeKind.OK


def test_housekeeping_is_stopped_without_a_word(walk: Start) -> None:
    w = walk(None)
    w.new(b.load("l"))
    w("drain")
    assert w("drain expired") == "Cancel(l)"
    assert w("evicted", "l") == "Discard(l)"


def test_it_may_be_told_twice(walk: Start) -> None:
    w = walk(WHISPER)
    w("drain")
    assert w("drain") == ""


def test_headers_that_are_due_may_still_go_out(walk: Start) -> None:
    w = walk(None)
    w.new(b.listen("a", wire=b.STREAM))
    w("drain")
    assert w("timer", "OpenDue", "a", 0) == "OpenStream(a)"
    assert w("drain expired") == "Emit(a) CloseStream(a) Cancel(a)"
