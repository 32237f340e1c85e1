"""SWAP: one card, several cards, and everything that can come between."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from aistack.errors import Code
from aistack.jobs import Limits, OutcomeKind
from aistack.jobs import effects as do
from tests.unit.jobs import build as b
from tests.unit.jobs.build import NEW, OLD, WHISPER
from tests.unit.jobs.conftest import Walk

Start = Callable[..., Walk]


def change(w: Walk, job_id: str = "s") -> None:
    """The swap's two steps on one card."""
    w("evicted", job_id)
    w("loaded", job_id)


def test_one_idle_card(walk: Start) -> None:
    w = walk(OLD, selected=OLD)
    assert w.new(b.swap("s")) == "Respond(s) Evict(s)"
    assert w("gone", "s") == "", "its client has had the 202 and may leave"
    assert w("evicted", "s") == "Load(s)"
    assert w.snapshot.selected == OLD, "not before the new weights are there"
    assert w("loaded", "s") == "Discard(s)"
    assert w.snapshot.selected == NEW and w.ended["s"].kind is OutcomeKind.OK


def test_the_new_weights_sit_there_already(walk: Start) -> None:
    w = walk(NEW, selected=OLD)
    assert w.new(b.swap("s")) == "Respond(s) Discard(s)"
    assert w.snapshot.selected == NEW
    assert w.latest("s", do.Respond).answer.body == b"accepted d20"


def test_a_failed_load_leaves_the_old_tag_selected(walk: Start) -> None:
    w = walk(OLD, selected=OLD)
    w.new(b.swap("s"))
    w("evicted", "s")
    assert w("load fails", "s") == "Discard(s)"
    assert w.ended["s"].kind is OutcomeKind.FAILED and w.fault("s") is b.BROKEN
    assert w.snapshot.selected == OLD and w.snapshot.selected_ok and w.resident() is None
    assert w.new(b.generate("g", b.WHOLE)) == "Evict(g)"
    assert w("evicted", "g") == "Load(g)" and w.latest("g", do.Load).resident == OLD


def test_the_same_tag_is_loaded_again_after_its_load_failed(walk: Start) -> None:
    w = walk(None, selected=OLD)
    w.new(b.generate("g", b.WHOLE))
    w("evicted", "g")
    w("load fails", "g", "too large")
    broken = w.snapshot
    assert not broken.selected_ok
    assert w.new(b.swap("s", OLD)) == "Respond(s) Evict(s)"
    assert w.latest("s", do.Respond).answer.body == b"accepted d20"
    change(w)
    assert w.snapshot.selected == OLD and w.snapshot.selected_ok
    assert w.new(b.swap("u", OLD)) == "Respond(u) Discard(u)"


def test_another_models_failed_load_does_not_unsettle_the_selected_one(walk: Start) -> None:
    w = walk(None, selected=OLD)
    w.new(b.listen("a"))
    w("evicted", "a")
    w("load fails", "a")
    assert w.snapshot.selected_ok


def test_a_call_that_loads_the_selected_weights_settles_them(walk: Start) -> None:
    w = walk(None, selected=OLD)
    for attempt, outcome in (("g", "load fails"), ("h", "loaded")):
        w.new(b.generate(attempt, b.WHOLE))
        w("evicted", attempt)
        w(outcome, attempt)
    assert w.snapshot.selected_ok and OLD not in w.snapshot.cooling


def test_the_drain_takes_too_long(walk: Start) -> None:
    w = walk(OLD, selected=OLD, limits=Limits(swap_drain=33.0))
    w.new(b.generate("g"))
    w.new(b.swap("s"))
    assert w.latest("s", do.SetTimer).seconds == 33.0
    assert w("timer", "WaitExpired", "s", 1) == "Discard(s)"
    assert w.ended["s"].kind is OutcomeKind.FAILED and w.fault("s").code is Code.DRAINING
    assert w.snapshot.selected == OLD and w.where("g") == "running"


def test_a_failed_swap_lets_those_in_line_go_on(walk: Start) -> None:
    """The card is free, but g may not take it while the swap wants another one."""
    w = walk(WHISPER, OLD, selected=OLD)
    w.new(b.generate("f", b.WHOLE))
    w.new(b.listen("a"))
    w.new(b.generate("g", b.WHOLE, max_wait_s=9))
    w.new(b.swap("s"))
    assert w("finish", "a") == "Respond(a) Discard(a)", "gpu0 holds no old weights: nobody takes it"
    assert w("timer", "WaitExpired", "s", 1) == "Discard(s) Evict(g)"
    assert w.latest("g", do.Evict).device == "gpu0"


def test_a_generation_that_waits_is_served_by_the_new_weights(walk: Start) -> None:
    w = walk(OLD, selected=OLD)
    w.new(b.generate("f", b.WHOLE))
    w.new(b.generate("g", b.WHOLE, max_wait_s=30))
    w.new(b.swap("s"))
    assert w.snapshot.queue == ("s", "g")
    assert w("finish", "f") == "Respond(f) Discard(f) Evict(s)"
    w("evicted", "s")
    assert w("loaded", "s") == "Discard(s) Run(g)"
    assert w.latest("g", do.Run).route.resident == NEW


def test_others_are_only_busy(walk: Start) -> None:
    w = walk(OLD, selected=OLD)
    w.new(b.swap("s"))
    w.new(b.listen("a"))
    assert w.fault("a").code is Code.SLOT_BUSY
    assert w.fault("a").extra["holder"]["op"] == "swap"


# --- several cards ----------------------------------------------------------------------------------


def test_several_cards_one_after_another(walk: Start) -> None:
    w = walk(OLD, OLD, selected=OLD)
    assert w.new(b.swap("s")) == "Respond(s) Evict(s)"
    assert w.latest("s", do.Evict).device == "gpu0"
    assert w.new(b.generate("g", b.WHOLE)) == "Run(g)"
    assert w.latest("g", do.Run).device == "gpu1", "those not yet reached go on with the old weights"
    w("evicted", "s")
    assert w("loaded", "s") == "SetTimer(s)"
    assert w.where("s") == "waiting" and w.snapshot.selected == OLD, "selected flips with the last"
    assert w.latest("s", do.SetTimer).event.wait_no == 1
    assert w.new(b.generate("h")) == "Respond(h) Discard(h)" and w.fault("h").code is Code.DRAINING
    assert w("finish", "g") == "Respond(g) Discard(g) Evict(s)"
    assert w.latest("s", do.Evict).device == "gpu1"
    w("evicted", "s")
    assert w("loaded", "s") == "Discard(s)"
    assert w.snapshot.selected == NEW
    assert (w.resident("gpu0"), w.resident("gpu1")) == (NEW, NEW)


def test_two_idle_cards_need_no_pause(walk: Start) -> None:
    w = walk(OLD, OLD, selected=OLD)
    w.new(b.swap("s"))
    w("evicted", "s")
    assert w("loaded", "s") == "SetTimer(s) Evict(s)"
    assert w.latest("s", do.Evict).device == "gpu1"
    change(w)
    assert w.snapshot.selected == NEW and w.ended["s"].kind is OutcomeKind.OK


def test_a_stale_timer_of_an_earlier_turn_does_nothing(walk: Start) -> None:
    """The drain limit of the first card must not end the wait for the second."""
    w = walk(OLD, OLD, selected=OLD)
    w.new(b.generate("f", b.WHOLE))
    w.new(b.generate("g", b.WHOLE))
    w.new(b.swap("s"))
    w("finish", "f")
    change(w)
    assert {wait_no for kind, job_id, wait_no in w.timers if job_id == "s"} == {1, 2}
    assert w("timer", "WaitExpired", "s", 1) == ""
    assert w.where("s") == "waiting"
    assert w("timer", "WaitExpired", "s", 2) == "Discard(s)"
    assert w.snapshot.selected == OLD and w.resident("gpu0") == NEW


def test_a_half_done_swap_serves_old_weights_only(walk: Start) -> None:
    w = walk(OLD, OLD, selected=OLD)
    w.new(b.generate("f", b.WHOLE))
    w.new(b.swap("s"))
    assert w.latest("s", do.Evict).device == "gpu1"
    change(w)
    w("timer", "WaitExpired", "s", 1)
    w("timer", "WaitExpired", "s", 2)
    assert w.new(b.generate("g", b.WHOLE)) == "Evict(g)", "gpu1 holds the new ones"
    w("evicted", "g")
    assert w.latest("g", do.Load).resident == OLD


def test_the_last_old_weights_go_by_themselves(walk: Start) -> None:
    """The card the swap waits for is emptied by someone else: nothing is left to change."""
    w = walk(OLD, OLD, selected=OLD)
    w.new(b.listen("a", OLD, device="gpu1"))
    w.new(b.swap("s"))
    change(w)
    assert w.where("s") == "waiting"
    assert w("lose", "a") == "Respond(a) Discard(a) Discard(s)"
    assert w.snapshot.selected == NEW and w.ended["s"].kind is OutcomeKind.OK


def test_and_then_those_in_line_are_served(walk: Start) -> None:
    w = walk(OLD, OLD, selected=OLD)
    w.new(b.listen("a", OLD, device="gpu1"))
    w.new(b.listen("f", OLD, device="gpu0"))
    w.new(b.generate("g", b.WHOLE, max_wait_s=9))
    w.new(b.chat("c", max_wait_s=9, device="gpu1"))
    w.new(b.swap("s"))
    w("finish", "f")
    change(w)
    assert w.snapshot.queue == ("s", "g", "c")
    assert w("lose", "a") == "Respond(a) Discard(a) Discard(s) Run(g) Run(c)"
    assert w.latest("g", do.Run).route.resident == NEW


def test_an_engine_that_dies_idle_frees_the_swap_too(walk: Start) -> None:
    w = walk(OLD, OLD, selected=OLD)
    w.new(b.speak("t", device="gpu1"))
    w.new(b.swap("s"))
    change(w)
    assert w.where("s") == "waiting"
    w("dies", "gpu1")
    assert w("vanished", "gpu1") == "Discard(s)"
    assert w.snapshot.selected == NEW


def test_old_weights_that_come_back_by_name_are_visited_again(walk: Start) -> None:
    """A load of the old tag on a changed card would let a generation run on it after the swap."""
    w = walk(OLD, OLD, selected=OLD)
    w.new(b.generate("g", b.WHOLE))
    w.new(b.swap("s"))
    assert w.latest("s", do.Evict).device == "gpu1"
    change(w)
    assert w.new(b.load("l", OLD)) == "Evict(l)"
    w("evicted", "l")
    assert w("loaded", "l") == "Discard(l) Evict(s)"
    assert w.latest("s", do.Evict).device == "gpu1"


def test_cards_without_old_weights_are_left_alone(walk: Start) -> None:
    w = walk(WHISPER, OLD, selected=OLD)
    w.new(b.swap("s"))
    assert w.latest("s", do.Evict).device == "gpu1"
    change(w)
    assert w.ended["s"].kind is OutcomeKind.OK and w.resident("gpu0") == WHISPER


def test_with_no_old_weights_anywhere_one_card_is_changed(walk: Start) -> None:
    w = walk(WHISPER, None, selected=OLD)
    w.new(b.swap("s"))
    assert w.latest("s", do.Evict).device == "gpu1", "the empty one"
    change(w)
    assert w.snapshot.selected == NEW


def test_the_swap_waits_for_a_cancelled_load_of_old_weights(walk: Start) -> None:
    w = walk(None, None, selected=OLD)
    w.new(b.generate("g", b.WHOLE))
    w("evicted", "g")
    w("gone", "g")
    assert w.new(b.swap("s")) == "Respond(s) SetTimer(s)"
    assert w("loaded", "g") == "Discard(g) Evict(s)"


def test_nothing_selected_changes_one_card_only(walk: Start) -> None:
    w = walk(None, WHISPER)
    w.new(b.swap("s"))
    w("evicted", "s")
    assert not w.snapshot.selected_ok
    assert w("loaded", "s") == "Discard(s)"
    assert w.snapshot.selected == NEW and w.resident("gpu1") == WHISPER
    assert w.snapshot.selected_ok


def test_the_swap_does_not_wait_for_a_load_of_something_else(walk: Start) -> None:
    w = walk(None, OLD, selected=OLD)
    w.new(b.listen("a", WHISPER))
    w.new(b.swap("s"))
    assert w.latest("s", do.Evict).device == "gpu1"
    w("evicted", "s")
    assert w("loaded", "s") == "Discard(s)", "gpu0 is being loaded with no old weights"


def test_a_bound_swap_keeps_to_its_card(walk: Start) -> None:
    w = walk(OLD, OLD, selected=OLD)
    w.new(b.swap("s", device="gpu1"))
    assert w.latest("s", do.Evict).device == "gpu1"
    change(w)
    assert w.snapshot.selected == NEW and w.resident("gpu0") == OLD


def test_a_swap_that_nobody_asked_for_goes_the_same_way_without_an_answer(walk: Start) -> None:
    """The one at the start of the service."""
    w = walk(OLD, selected=OLD)
    assert w.new(attrs.evolve(b.swap("s"), wire=None)) == "Evict(s)"
    w("evicted", "s")
    assert w("loaded", "s") == "Discard(s)"
    assert w.snapshot.selected == NEW and w.ended["s"].kind is OutcomeKind.OK


# --- the new weights side by side with the old ---------------------------------------------------------


def test_a_kept_model_stays_until_the_new_one_is_there(walk: Start) -> None:
    w = walk(OLD, selected=OLD)
    w.new(b.swap("s"))
    assert w.latest("s", do.Evict) == do.Evict("s", "gpu0", everything=True, side_by_side=NEW)
    assert w("kept", "s") == "Load(s)"
    assert w.latest("s", do.Load) == do.Load("s", "gpu0", NEW, side_by_side=True)
    assert w.resident() == OLD and w.new(b.generate("g")) == "Respond(g) Discard(g)"
    assert w("loaded", "s") == "Discard(s)"
    assert w.resident() == NEW and w.snapshot.selected == NEW


def test_a_load_that_fails_beside_leaves_the_old_model_where_it_is(walk: Start) -> None:
    w = walk(OLD, selected=OLD)
    w.new(b.swap("s"))
    w("kept", "s")
    assert w("load fails", "s") == "Discard(s)"
    assert w.ended["s"].kind is OutcomeKind.FAILED
    assert w.resident() == OLD and w.snapshot.selected == OLD
    assert w.new(b.generate("g", b.WHOLE)) == "Run(g)", "nothing has to be loaded again"


def test_a_kept_model_that_dies_meanwhile(walk: Start) -> None:
    for ending in ("loaded", "load fails"):
        w = walk(OLD, selected=OLD)
        w.new(b.swap("s"))
        w("kept", "s")
        w("dies", "gpu0")
        w("vanished", "gpu0")
        assert w.resident() is None
        w(ending, "s")
        assert w.resident() == (NEW if ending == "loaded" else None)


def test_only_old_weights_are_kept(walk: Start) -> None:
    """Not another engine's model; and a job that is no swap spares nothing."""
    w = walk(WHISPER, selected=OLD)
    w.new(b.swap("s"))
    assert w.latest("s", do.Evict).side_by_side is None
    w = walk(OLD, selected=OLD)
    w.new(b.listen("a"))
    assert w.latest("a", do.Evict).side_by_side is None


def test_a_stop_after_a_model_was_kept_keeps_it(walk: Start) -> None:
    w = walk(OLD, selected=OLD)
    w.new(b.swap("s"))
    w("drain")
    w("drain expired")
    assert w("kept", "s") == "Discard(s)"
    assert w.resident() == OLD
