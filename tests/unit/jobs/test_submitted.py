"""Submission, row by row: the first condition that fits wins. And what a refusal says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from aistack.chunks import Vram
from aistack.errors import Code, ErrorKind
from aistack.jobs import SELECTED, Job, Limits, Op, OutcomeKind, Phase, Resident, Route, State
from aistack.jobs import effects as do
from aistack.jobs.changes import evolve
from aistack.jobs.states import Step
from tests.unit.jobs import build as b
from tests.unit.jobs.build import NEW, OLD, PARAKEET, WHISPER
from tests.unit.jobs.conftest import Walk

Start = Callable[..., Walk]
REFUSED = "Respond(j) Discard(j)"


def cool(w: Walk, model: Resident) -> None:
    """Let the model fail to load twice in a row."""
    for attempt in ("f1", "f2"):
        w.new(b.listen(attempt, model))
        w("evicted", attempt)
        w("load fails", attempt, "broken")
    assert w.snapshot.cooling[model].failures == 2


# --- the rows, in order: each refusal also shows that it comes before all that follow ----------------


def test_row_1_draining_refuses_everything(walk: Start) -> None:
    w = walk(WHISPER)
    w("drain")
    for job in (b.listen("j", device="nowhere"), b.generate("j2"), b.swap("j3")):
        assert w.new(job) == f"Respond({job.id}) Discard({job.id})"
        assert w.fault(job.id).code is Code.SHUTTING_DOWN and w.fault(job.id).status == 503
    assert w.new(b.unload("z")) == "Discard(z)"


def test_row_2_no_slot_fits(walk: Start) -> None:
    w = walk(WHISPER)
    nowhere = evolve(b.generate("j"), route=Route("nanochat", SELECTED, Vram.OWN, "gpu7"))
    assert w.new(nowhere) == REFUSED
    fault = w.fault("j")
    assert (fault.kind, fault.code, fault.retry_after) == (ErrorKind.NETWORK, Code.NOT_CONFIGURED, None)
    assert "nanochat" in fault.message


def test_row_3_nothing_is_selected(walk: Start) -> None:
    w = walk(WHISPER)
    assert w.new(b.generate("j")) == REFUSED
    assert w.fault("j").code is Code.MODEL_LOAD_FAILED and "/models/swap" in w.fault("j").message
    assert w.fault("j").kind is ErrorKind.NETWORK


def test_row_3_nothing_is_selected_yet(walk: Start) -> None:
    """While the first weights load, waiting helps."""
    w = walk(WHISPER)
    w.new(b.swap("s"))
    assert w.new(b.generate("j", max_wait_s=30)) == REFUSED
    assert (w.fault("j").code, w.fault("j").retry_after) == (Code.DRAINING, 5)


def test_row_4_its_model_cools_down_even_when_the_slot_is_busy(walk: Start) -> None:
    w = walk(WHISPER)
    cool(w, PARAKEET)
    w.new(b.listen("a"))
    assert w.new(b.listen("j", PARAKEET, max_wait_s=30)) == REFUSED
    fault = w.fault("j")
    assert (fault.code, fault.retry_after) == (Code.LOAD_COOLING_DOWN, 10)
    assert fault.kind is ErrorKind.NETWORK
    assert "parakeet failed to load 2 times" in fault.message and "10 s" in fault.message
    assert w.resident() is None, "and what is resident was not evicted for it"


def test_row_4_the_selected_weights_cool_down(walk: Start) -> None:
    w = walk(None, selected=OLD)
    for attempt in ("f1", "f2"):
        w.new(b.generate(attempt))
        w("evicted", attempt)
        w("load fails", attempt, "broken")
    w.now = 7.0
    assert w.new(b.generate("j")) == REFUSED
    assert (w.fault("j").code, w.fault("j").retry_after) == (Code.LOAD_COOLING_DOWN, 3)
    assert "d20" in w.fault("j").message
    assert w.new(b.swap("s", OLD)) == "Respond(s) Discard(s)"
    assert w.fault("s").code is Code.LOAD_COOLING_DOWN


def test_row_4_never_says_zero_seconds(walk: Start) -> None:
    w = walk(None)
    cool(w, PARAKEET)
    w.now = 9.8
    w.new(b.listen("j", PARAKEET))
    assert w.fault("j").retry_after == 1


def test_row_4_an_unload_is_not_refused(walk: Start) -> None:
    w = walk(None)
    cool(w, PARAKEET)
    assert w.new(b.unload("z", PARAKEET)) == "Discard(z)"
    assert w.ended["z"].kind is OutcomeKind.OK


def test_row_5_a_second_swap(walk: Start) -> None:
    w = walk(OLD, selected=OLD)
    w.new(b.swap("s"))
    assert w.new(b.swap("j", OLD)) == REFUSED, "even to the tag that is selected"
    assert (w.fault("j").code, w.fault("j").retry_after) == (Code.DRAINING, 5)


def test_row_6_a_swap_to_the_selected_tag(walk: Start) -> None:
    w = walk(OLD, selected=OLD)
    w.new(b.generate("g"))
    assert w.new(b.swap("j", OLD)) == REFUSED
    assert w.latest("j", do.Respond).answer.body == b"ok d20"
    assert w.ended["j"].kind is OutcomeKind.OK and w.fault("j") is None


def test_row_7_it_may_take_a_slot(walk: Start) -> None:
    w = walk(WHISPER)
    w.now = 3.0
    assert w.new(b.listen("j")) == "Run(j)"
    job = w.snapshot.jobs["j"]
    assert (job.submitted, job.granted, job.ran, job.since, job.first) == (3.0, 3.0, 3.0, 3.0, None)


def test_row_7_a_stream_arms_its_headers(walk: Start) -> None:
    w = walk(None, limits=Limits(open_after=12.0))
    assert w.new(b.listen("j", wire=b.STREAM)) == "SetTimer(j) Evict(j)"
    assert w.latest("j", do.SetTimer).seconds == 12.0


def test_row_7_a_relay_does_not(walk: Start) -> None:
    w = walk(None, None)
    assert w.new(b.chat("c")) == "Run(c)"
    assert w.new(b.speak("j", device="gpu1")) == "Run(j)"


def test_row_8_a_swap_goes_to_the_head_of_the_line(walk: Start) -> None:
    w = walk(OLD, selected=OLD)
    w.new(b.listen("a", OLD))
    w.new(b.listen("p", PARAKEET, max_wait_s=9))
    assert w.new(b.swap("s")) == "Respond(s) SetTimer(s)"
    assert w.snapshot.queue == ("s", "p")


@pytest.mark.parametrize("job", [b.load("j"), b.unload("j")])
def test_row_9_housekeeping_never_waits(walk: Start, job: Job) -> None:
    w = walk(WHISPER)
    w.new(b.listen("a"))
    assert w.new(job) == "Discard(j)"
    assert w.ended["j"].kind is OutcomeKind.REJECTED


def test_row_10_selected_while_a_swap_is_in_the_book(walk: Start) -> None:
    w = walk(OLD, selected=OLD)
    w.new(b.swap("s"))
    assert w.new(b.generate("j", max_wait_s=30)) == REFUSED, "waiting does not help"
    assert (w.fault("j").code, w.fault("j").retry_after) == (Code.DRAINING, 5)


def test_row_11_a_caller_who_waits(walk: Start) -> None:
    w = walk(WHISPER)
    w.new(b.listen("a"))
    assert w.new(b.chat("j", max_wait_s=0.5)) == "SetTimer(j)"
    assert w.latest("j", do.SetTimer).seconds == 0.5
    assert w.snapshot.jobs["j"].state is State.ADMITTED and w.where("j") == "waiting"


def test_row_11_first_come_first_served(walk: Start) -> None:
    w = walk(WHISPER)
    for job_id in "abc":
        w.new(b.listen(job_id, max_wait_s=9))
    assert list(w.snapshot.queue) == ["b", "c"]
    assert w("finish", "a") == "Respond(a) Discard(a) Run(b)"
    assert list(w.snapshot.queue) == ["c"]


def test_the_first_weights_keep_out_only_those_who_want_them(walk: Start) -> None:
    w = walk(None)
    w.new(b.swap("s"))
    assert w.new(b.generate("j", max_wait_s=9)) == REFUSED
    assert w.new(b.listen("a", max_wait_s=9)) == "SetTimer(a)"


def test_row_11_one_who_may_not_is_passed_by_one_who_may(walk: Start) -> None:
    w = walk(WHISPER, PARAKEET)
    w.new(b.chat("c"))
    w.new(b.listen("a", PARAKEET))
    w.new(b.chat("e", max_wait_s=9))
    w.new(b.listen("p", PARAKEET, max_wait_s=9))
    assert w("finish", "a") == "Respond(a) Discard(a) Run(p)"


@pytest.mark.parametrize("max_wait_s", [0.0, 3.0, 8.0])
def test_row_11_only_housekeeping_holds(walk: Start, max_wait_s: float) -> None:
    w = walk(WHISPER, limits=Limits(housekeeping_wait=6.0))
    w.new(b.load("l", PARAKEET))
    assert w.new(b.listen("j", max_wait_s=max_wait_s)) == "SetTimer(j)"
    assert w.latest("j", do.SetTimer).seconds == max(max_wait_s, 6.0)


def test_row_11_a_caller_beside_housekeeping_counts(walk: Start) -> None:
    w = walk(WHISPER, PARAKEET)
    w.new(b.listen("a", PARAKEET))
    w.new(b.unload("z"))
    assert w.new(b.listen("j")) == REFUSED
    assert w.fault("j").code is Code.SLOT_BUSY
    assert w.new(b.chat("k")) == "SetTimer(k)", "on its own card only housekeeping stands"


def test_row_11_line_max(walk: Start) -> None:
    w = walk(OLD, selected=OLD, limits=Limits(max_queued=2))
    w.new(b.listen("a"))
    assert w.new(b.chat("p", max_wait_s=9)) == "SetTimer(p)"
    assert w.new(b.swap("s")) == "Respond(s) SetTimer(s)", "a swap takes no place"
    assert w.new(b.chat("q", max_wait_s=9)) == "SetTimer(q)"
    assert w.new(b.chat("j", max_wait_s=9)) == REFUSED
    assert w.fault("j").code is Code.SLOT_BUSY


def test_row_12_busy(walk: Start) -> None:
    w = walk(WHISPER)
    w.now = 10.0
    w.new(b.listen("a"))
    w.now = 12.5
    assert w.new(b.speak("j")) == REFUSED
    fault = w.fault("j")
    assert (fault.kind, fault.code, fault.retry_after) == (ErrorKind.NETWORK, Code.SLOT_BUSY, 5)
    assert "a transcription (whisper-small)" in fault.message
    assert "This speech synthesis was not started" in fault.message
    assert fault.extra == {"holder": {"op": "transcribe", "model": "whisper-small", "since_s": 2.5}}


# --- where ------------------------------------------------------------------------------------------


def test_the_slot_where_the_model_sits_is_taken_first(walk: Start) -> None:
    w = walk(None, PARAKEET, WHISPER)
    assert w.new(b.listen("j", WHISPER)) == "Run(j)"
    assert w.latest("j", do.Run).device == "gpu2"


def test_an_empty_slot_is_better_than_an_eviction(walk: Start) -> None:
    w = walk(PARAKEET, None)
    w.new(b.listen("j", WHISPER))
    assert w.latest("j", do.Evict).device == "gpu1"


def test_else_the_first_that_is_free(walk: Start) -> None:
    w = walk(PARAKEET, PARAKEET)
    w.new(b.listen("j", WHISPER))
    assert w.latest("j", do.Evict).device == "gpu0"


def test_a_bound_route_keeps_to_its_card(walk: Start) -> None:
    w = walk(WHISPER, None)
    assert w.new(b.listen("j", WHISPER, device="gpu1")) == "Evict(j)"
    assert w.latest("j", do.Evict).device == "gpu1"


def test_selected_weights_may_belong_to_another_backend(walk: Start) -> None:
    other = Resident("transformers", "d20")
    w = walk(OLD, other, selected=other)
    assert w.new(b.generate("j", b.WHOLE)) == "Run(j)"
    assert w.latest("j", do.Run).device == "gpu1"
    assert w.latest("j", do.Run).route == Route("transformers", "d20", Vram.OWN)


def test_selected_goes_where_the_selected_weights_sit(walk: Start) -> None:
    w = walk(None, OLD, selected=OLD)
    assert w.new(b.generate("j")) == "SetTimer(j) Run(j)"
    run = w.latest("j", do.Run)
    assert run.device == "gpu1" and (run.route.backend, run.route.model) == ("nanochat", "d20")
    assert run.request is w.originals["j"].request


# --- housekeeping -----------------------------------------------------------------------------------


def test_load_is_done_when_the_model_sits(walk: Start) -> None:
    w = walk(WHISPER)
    assert w.new(b.load("l")) == "Discard(l)"
    assert w.new(b.load("m", PARAKEET)) == "Evict(m)"
    assert w("evicted", "m") == "Load(m)"
    assert w("gone", "m") == "", "nobody waits for it"
    assert w("loaded", "m") == "Discard(m)"
    assert w.resident() == PARAKEET and w.ended["m"].kind is OutcomeKind.OK


def test_unload_hits_only_what_it_names(walk: Start) -> None:
    w = walk(PARAKEET)
    assert w.new(b.unload("y", WHISPER)) == "Discard(y)"
    assert w.resident() == PARAKEET
    assert w.new(b.unload("z", PARAKEET)) == "Evict(z)"
    assert w.latest("z", do.Evict) == do.Evict("z", "gpu0", everything=False)
    assert w("evicted", "z") == "Discard(z)"
    assert w.resident() is None


def test_a_failed_housekeeping_load_is_told_to_nobody(walk: Start) -> None:
    w = walk(None)
    w.new(b.load("l"))
    w("evicted", "l")
    assert w("load fails", "l") == "Discard(l)"
    assert w.ended["l"].kind is OutcomeKind.FAILED


def test_a_swap_is_never_run_and_a_container_moves_nothing(walk: Start) -> None:
    w = walk(WHISPER)
    assert w.new(b.speak("t")) == "Run(t)"
    assert w.resident() == WHISPER
    assert w.snapshot.jobs["t"].step is Step.RUN and w.snapshot.jobs["t"].op is Op.SPEAK
    assert w.snapshot.jobs["t"].phase is Phase.RUNNING


def test_a_swap_answers_with_the_tag_that_serves_now(walk: Start) -> None:
    w = walk(None)
    w.new(b.swap("s", NEW))
    assert w.latest("s", do.Respond).answer.body == b"accepted d26", "nothing is selected yet: its own"
