"""The walks of the design as literal traces, and the traces that broke an earlier design."""

from __future__ import annotations

from collections.abc import Callable

from aistack.errors import Code
from aistack.jobs import OutcomeKind
from aistack.jobs import effects as do
from tests.unit.jobs import build as b
from tests.unit.jobs.build import NEW, OLD, PARAKEET, WHISPER
from tests.unit.jobs.conftest import Walk

Start = Callable[..., Walk]


# --- the walks --------------------------------------------------------------------------------------


def test_another_model_is_resident(walk: Start) -> None:
    w = walk(WHISPER)
    assert w.new(b.listen("t", PARAKEET)) == "Evict(t)"
    assert w.latest("t", do.Evict) == do.Evict("t", "gpu0", everything=True)
    assert w("evicted", "t") == "Load(t)"
    assert w.latest("t", do.Load) == do.Load("t", "gpu0", PARAKEET)
    assert w("loaded", "t") == "Run(t)"
    assert w.where("t") == "running"
    assert w("produce", "t") == ""
    assert w("produce", "t") == ""
    assert w("finish", "t") == "Respond(t) Discard(t)"
    assert w.latest("t", do.Respond).answer.body == b"body 2"
    assert w.ended["t"].kind is OutcomeKind.OK
    assert w.resident() == PARAKEET and w.snapshot.slots[0].holder is None


def test_a_stream_whose_client_leaves(walk: Start) -> None:
    w = walk(WHISPER)
    assert w.new(b.listen("t", wire=b.STREAM)) == "SetTimer(t) Run(t)"
    assert w("produce", "t") == "OpenStream(t) Emit(t)"
    assert w.where("t") == "streaming"
    assert w.latest("t", do.OpenStream).head.headers == (("first", "Token"),)
    assert w("gone", "t") == "Cancel(t)"
    assert w.snapshot.slots[0].holder == "t", "the slot is held until the work has really stopped"
    assert w("produce", "t") == ""
    assert w("stopped", "t") == "Discard(t)"
    assert w.ended["t"].kind is OutcomeKind.CANCELLED
    assert w.resident() == WHISPER


def test_a_killed_run_takes_its_model_along(walk: Start) -> None:
    w = walk(WHISPER)
    w.new(b.listen("t"))
    w("gone", "t")
    assert w("killed", "t") == "Discard(t)"
    assert w.resident() is None


def test_busy(walk: Start) -> None:
    w = walk(WHISPER)
    w.new(b.listen("a"))
    assert w.new(b.chat("c")) == "Respond(c) Discard(c)"
    answer = w.latest("c", do.Respond).answer
    assert answer.status == 503 and ("Retry-After", "5") in answer.headers
    assert w.fault("c").code is Code.SLOT_BUSY and w.ended["c"].kind is OutcomeKind.REJECTED


def test_busy_and_the_caller_waits(walk: Start) -> None:
    w = walk(WHISPER)
    w.new(b.listen("a"))
    assert w.new(b.listen("p", PARAKEET, b.STREAM, max_wait_s=30)) == "SetTimer(p)"
    assert w.latest("p", do.SetTimer).seconds == 30
    assert w.where("p") == "waiting"
    assert w("finish", "a") == "Respond(a) Discard(a) SetTimer(p) Evict(p)", (
        "the same reaction, no window"
    )
    assert w.latest("p", do.SetTimer).seconds == 15
    assert w("timer", "WaitExpired", "p", 1) == ""
    w("evicted", "p")
    w("loaded", "p")
    assert w("finish", "p") == "OpenStream(p) Emit(p) CloseStream(p) Discard(p)"


def test_a_chat_then_a_transcription(walk: Start) -> None:
    w = walk(WHISPER)
    assert w.new(b.chat("c", b.RELAYED)) == "Evict(c)", "and no OpenDue: the headers are the upstream's"
    assert w.latest("c", do.Evict).everything is False
    assert w("evicted", "c") == "Run(c)"
    assert w("produce", "c") == "OpenStream(c)"
    assert w("finish", "c") == "CloseStream(c) Discard(c)"
    assert w.foreign == {"gpu0"}
    assert w.new(b.listen("t")) == "Evict(t)"
    assert w.latest("t", do.Evict).everything is True
    assert w("evicted", "t") == "Load(t)" and not w.foreign
    assert w("loaded", "t") == "Run(t)"


def test_a_swap_while_a_stream_runs(walk: Start) -> None:
    w = walk(OLD, selected=OLD)
    w.new(b.generate("g"))
    w("produce", "g")
    assert w.new(b.swap("s")) == "Respond(s) SetTimer(s)"
    assert w.latest("s", do.Respond).answer.body == b"accepted d20"
    assert w.latest("s", do.SetTimer).seconds == 60
    assert w.new(b.generate("h")) == "Respond(h) Discard(h)"
    assert w.fault("h").code is Code.DRAINING and w.fault("h").retry_after == 5
    assert w("finish", "g") == "Emit(g) CloseStream(g) Discard(g) Evict(s)"
    assert w("evicted", "s") == "Load(s)"
    assert w.snapshot.selected == OLD
    assert w("loaded", "s") == "Discard(s)"
    assert w.snapshot.selected == NEW and w.snapshot.selected_ok
    assert w.new(b.generate("i")) == "SetTimer(i) Run(i)"
    assert w.latest("i", do.Run).route.model == "d26"


def test_a_load_that_needs_too_much(walk: Start) -> None:
    w = walk(WHISPER)
    w.new(b.listen("t", PARAKEET))
    w("evicted", "t")
    assert w("load fails", "t", "too large") == "Respond(t) Discard(t)"
    assert w.latest("t", do.Respond).answer.status == 413
    assert w.ended["t"].kind is OutcomeKind.FAILED and w.resident() is None
    assert not w.snapshot.cooling


def test_a_child_that_dies_in_the_middle_of_a_stream(walk: Start) -> None:
    w = walk(WHISPER)
    w.new(b.listen("t", wire=b.STREAM))
    w("produce", "t")
    assert w("lose", "t") == "Emit(t) CloseStream(t) Discard(t)"
    assert w.latest("t", do.Emit).frame == b"fault internal_error"
    assert w.resident() is None
    assert w.new(b.listen("u")) == "Evict(u)"
    assert w("evicted", "u") == "Load(u)"


def test_a_client_that_leaves_while_its_model_loads(walk: Start) -> None:
    w = walk(None)
    w.new(b.listen("t"))
    w("evicted", "t")
    assert w("gone", "t") == "Cancel(t)"
    assert w.where("t") == "cancelled"
    assert w("loaded", "t") == "Discard(t)"
    assert w.resident() == WHISPER, "it is paid for"


# --- the traces that broke an earlier design (`x`, `a` transcriptions, `c`, `e` chats, ...) ------------


def test_trace_memory_that_lags_after_a_loss(walk: Start) -> None:
    """b was loaded onto the ghost: now the loss means that memory is back, and b sweeps first."""
    w = walk(WHISPER)
    w.new(b.listen("a"))
    w.new(b.listen("b", PARAKEET, max_wait_s=9))
    assert w("lose", "a") == "Respond(a) Discard(a) Evict(b)"
    assert w.latest("b", do.Evict).everything is True
    assert w("evicted", "b") == "Load(b)"


def test_trace_a_cancelled_unload_does_not_report_early(walk: Start) -> None:
    w = walk(None)
    w.new(b.chat("c"))
    w("finish", "c")
    assert w.new(b.listen("a")) == "Evict(a)"
    assert w("gone", "a") == "Cancel(a)"
    assert w.snapshot.slots[0].holder == "a" and w.foreign == {"gpu0"}
    assert w("evicted", "a") == "Discard(a)" and not w.foreign


def test_trace_two_swaps(walk: Start) -> None:
    w = walk(OLD, selected=OLD)
    w.new(b.generate("g"))
    w.new(b.swap("s"))
    assert w.new(b.swap("u", WHISPER)) == "Respond(u) Discard(u)"
    assert w.latest("u", do.Respond).answer.status == 503 and w.fault("u").code is Code.DRAINING


def test_trace_no_old_weights_after_a_swap_on_two_cards(walk: Start) -> None:
    w = walk(None, None, selected=OLD)
    w.new(b.swap("s"))
    assert w.new(b.generate("g")) == "Respond(g) Discard(g)" and w.fault("g").code is Code.DRAINING
    w("evicted", "s")
    w("loaded", "s")
    assert w.new(b.generate("h")) == "SetTimer(h) Run(h)"
    assert w.latest("h", do.Run).device == "gpu0" and w.latest("h", do.Run).route.resident == NEW


def test_trace_old_weights_on_their_way_when_the_swap_comes(walk: Start) -> None:
    w = walk(None, None, selected=OLD)
    w.new(b.generate("g", b.WHOLE))
    assert w.new(b.swap("s")) == "Respond(s) SetTimer(s)", "it waits for the card that loads old weights"
    w("evicted", "g")
    w("loaded", "g")
    assert w("finish", "g") == "Respond(g) Discard(g) Evict(s)"
    assert w.latest("s", do.Evict).device == "gpu0"


def test_trace_an_engine_dies_idle_while_its_run_is_issued(walk: Start) -> None:
    w = walk(WHISPER)
    w("dies", "gpu0")
    assert w.new(b.listen("a")) == "Run(a)"
    assert w("vanished", "gpu0") == ""
    assert w.resident() == WHISPER, "the step reports it"
    assert w("lose", "a") == "Respond(a) Discard(a)"
    assert w.resident() is None


def test_trace_housekeeping_makes_nobody_busy(walk: Start) -> None:
    w = walk(WHISPER)
    assert w.new(b.unload("z")) == "Evict(z)"
    assert w.new(b.listen("a")) == "SetTimer(a)"
    assert w.latest("a", do.SetTimer).seconds == 5
    assert w("evicted", "z") == "Discard(z) Evict(a)"


def test_trace_an_upstream_in_use_is_not_evicted(walk: Start) -> None:
    """Chats are bound to one card by configuration, so a second one is busy, not on another card."""
    w = walk(None, None)
    w.new(b.chat("c"))
    assert w.new(b.chat("e")) == "Respond(e) Discard(e)"
    assert w.new(b.listen("a")) == "Evict(a)"
    assert w.latest("a", do.Evict).device == "gpu1"
    w("finish", "c")
    assert w.foreign == {"gpu0"}
