"""Where a stream ends, however its bytes are cut into reads; and the relay's wire."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aistack.chunks import Head, Piece, Tail
from aistack.errors import Code, Fault
from aistack.relays.sse_end import CHAT_DONE, CHAT_FINISH, HELD_MAX, StreamEnd
from aistack.wire.relay import Relayed, RelayWire

TRAP = r"say \"finish_reason\":\"stop\" and data: [DONE]"


def event(content: str, reason: str | None = None) -> str:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": reason}
    return f"data: {json.dumps({'choices': [choice]}, ensure_ascii=False)}\n\n"


STREAM = (event("Hällo") + event(TRAP) + ": comment\n\n" + event("", "stop")).encode()
DONE = b"data: [DONE]\n\n"


def fed(data: bytes, cuts: list[int]) -> tuple[bytes, bytes, StreamEnd]:
    """What went out at once, what was held, and the state, for one way of cutting the bytes."""
    end = StreamEnd(CHAT_FINISH, CHAT_DONE)
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    out = b"".join(end.feed(data[a:b]) for a, b in pairwise(places))
    return out, end.rest(), end


@given(st.lists(st.integers(0, 2000), max_size=12), st.booleans(), st.sampled_from(["\n", "\r\n"]))
def test_the_bytes_are_the_same_however_they_are_cut(cuts: list[int], whole: bool, line: str) -> None:
    data = (STREAM + (DONE if whole else b"")).replace(b"\n", line.encode())
    out, held, end = fed(data, cuts)
    assert out + held == data
    assert end.done == whole and end.finished
    assert b"\ndata: [DONE]" not in out
    assert b'"finish_reason": "stop"' not in out, "the reason is held with what follows it"
    assert not out or out.endswith((b"\n\n", b"\r\n\r\n")), "only whole events go out"


def test_only_the_end_is_held() -> None:
    out, held, _ = fed(STREAM, [])
    assert held == event("", "stop").encode() and out + held == STREAM


@given(st.lists(st.integers(0, 2000), max_size=12))
def test_a_stream_that_breaks_off_is_not_taken_for_finished(cuts: list[int]) -> None:
    data = (event("Hällo") + event(TRAP)).encode() + b'data: {"choices": [{"delta": {"con'
    out, held, end = fed(data, cuts)
    assert out + held == data and not end.finished and not end.done
    assert out == data[: data.rindex(b"data:")]


def test_what_is_no_event_stream_is_not_held_for_ever() -> None:
    end = StreamEnd(CHAT_FINISH, CHAT_DONE)
    block = b"x" * 65536
    out = b"".join(end.feed(block) for _ in range(16))
    assert len(out) >= 16 * 65536 - HELD_MAX - 65536
    assert out + end.rest() == block * 16


def test_let_go_and_go_on() -> None:
    end = StreamEnd(CHAT_FINISH, CHAT_DONE)
    assert (end.feed(event("", "stop").encode()), end.holding) == (b"", True)
    assert (end.let_go(), end.holding) == (event("", "stop").encode(), False)
    usage = b'data: {"choices": [], "usage": {}}\n\n'
    assert end.feed(usage) == usage
    assert (end.feed(b"data: [DO"), end.done) == (b"", False)
    assert (end.feed(b"NE]\n\n"), end.done) == (b"", True)
    assert end.rest() == DONE


HEAD = Head(
    206,
    (
        ("Content-Type", "audio/wav"),
        ("Content-Length", "12"),
        ("Connection", "close, X-Private"),
        ("X-Private", "1"),
        ("Keep-Alive", "timeout=5"),
        ("Transfer-Encoding", "chunked"),
        ("X-Request-ID", "theirs"),
        ("Access-Control-Allow-Origin", "*"),
        ("X-VLLM-OMNI-OUTPUT-TOKENS", "42"),
        ("Content-Encoding", "gzip"),
        ("Via", "a"),
        ("Via", "b"),
    ),
)


def test_a28_a162_end_to_end_headers_only() -> None:
    head = RelayWire(Relayed.SPEECH).head(HEAD)
    assert (head.status, head.content_type, head.length, head.sse) == (206, "audio/wav", 12, False)
    assert head.headers == (
        ("X-VLLM-OMNI-OUTPUT-TOKENS", "42"),
        ("Content-Encoding", "gzip"),
        ("Via", "a"),
        ("Via", "b"),
    )


@pytest.mark.parametrize("chunk", [None, Piece(b"x")])
def test_no_head_before_the_upstreams(chunk: Piece | None) -> None:
    with pytest.raises(TypeError):
        RelayWire(Relayed.CHAT_STREAM).head(chunk)


def test_bytes_pass_and_failures_are_told_in_their_own_way() -> None:
    wire = RelayWire(Relayed.CHAT_STREAM)
    assert wire.frame(Piece(b"\x00")) == b"\x00" and wire.frame(HEAD) is None
    assert wire.tail(Tail(b"z")) == b"z" and wire.tail(Tail()) is None
    fault = Fault(Code.UPSTREAM_ERROR, "Ä broke.", "ollama")
    frame, clean = wire.fault(fault)
    assert frame is not None and not clean and frame.endswith(b"\n\n")
    assert json.loads(frame.removeprefix(b"data: "))["error"]["message"] == "Ä broke."
    for what in (Relayed.CHAT_WHOLE, Relayed.SPEECH):
        assert RelayWire(what).fault(fault) == (None, False)
