"""Chunks in, bytes out: the internal API's events and OpenAI's chat completions."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from aistack import errors
from aistack.chunks import Generated, GenerationRequest, Message, Notice, Token, from_frame, to_frame
from aistack.wire.tokens import ChatHead, StreamedChat, TokenEvents, WholeChat

WIRE = TokenEvents()
CHAT = StreamedChat(ChatHead("chatcmpl-1", 1_700_000_000, "tiny-ada"))
END = Generated(3, "stop", 9)


def read(data: bytes) -> list[dict[str, object]]:
    """As a strict reader of server-sent events sees it: one line of data and a blank line each."""
    text = data.decode("ascii")
    assert text.endswith("\n\n")
    events = text.removesuffix("\n\n").split("\n\n")
    assert all(event.startswith("data: ") and "\n" not in event for event in events)
    return [json.loads(event.removeprefix("data: ")) for event in events]


def test_b18_b19_a_token_is_one_line_of_json_with_text_and_gpu() -> None:
    assert WIRE.frame(Token("hé", 3)) == b'data: {"token": "h\\u00e9", "gpu": 3}\n\n'


def test_b20_done_is_true_and_nothing_else() -> None:
    assert WIRE.tail(END) == b'data: {"done": true}\n\n'


@given(st.text(min_size=1))
def test_b23_b24_any_text_survives_a_reader_that_splits_at_unicode_line_ends(text: str) -> None:
    frame = WIRE.frame(Token(text, 0))
    assert frame is not None
    lines = frame.decode().splitlines()
    assert len(lines) == 2
    assert json.loads(lines[0].removeprefix("data: "))["token"] == text
    assert lines[1] == ""


def test_b53_a_failure_is_in_band_and_the_end_clean_but_without_done() -> None:
    frame, clean = WIRE.fault(errors.internal("nanochat"))
    assert clean
    assert frame is not None
    (event,) = read(frame)
    assert event.keys() == {"error"}
    assert event["error"]["code"] == "internal_error"  # type: ignore[index]


def test_an_empty_token_and_other_chunks_do_not_show() -> None:
    for wire in (WIRE, CHAT):
        assert wire.frame(Token("")) is None
        assert wire.frame(Notice("code", "m", "message")) is None


def test_both_are_streams_of_events() -> None:
    for wire in (WIRE, CHAT):
        head = wire.head(None)
        assert head.content_type == "text/event-stream"
        assert head.sse


def test_chat_stream() -> None:
    frame = CHAT.frame(Token("你"))
    assert frame is not None
    (chunk,) = read(frame)
    assert chunk["object"] == "chat.completion.chunk"
    assert chunk["model"] == "tiny-ada"
    assert chunk["choices"] == [
        {
            "index": 0,
            "delta": {"role": "assistant", "content": "你"},
            "logprobs": None,
            "finish_reason": None,
        }
    ]
    assert "usage" not in chunk
    tail = CHAT.tail(END)
    assert tail is not None
    assert tail.endswith(b"data: [DONE]\n\n")
    (last,) = read(tail.removesuffix(b"data: [DONE]\n\n"))
    assert last["choices"][0]["finish_reason"] == "stop"  # type: ignore[index]


def test_chat_stream_with_usage() -> None:
    wire = StreamedChat(ChatHead("c", 1, "m"), usage=True)
    frame = wire.frame(Token("x"))
    assert frame is not None
    assert read(frame)[0]["usage"] is None
    tail = wire.tail(END)
    assert tail is not None
    _, counts = read(tail.removesuffix(b"data: [DONE]\n\n"))
    assert counts["choices"] == []
    assert counts["usage"] == {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


def test_chat_whole() -> None:
    wire = WholeChat(ChatHead("c", 1, "m"))
    answer = wire.body([Token("a"), Token("ß\n")], Generated(512, "length", 4))
    body = json.loads(answer.body)
    assert answer.status == 200
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "aß\n"}
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["total_tokens"] == 516


def test_a_failure_mid_chat_is_in_band_and_cut() -> None:
    frame, clean = CHAT.fault(errors.internal("nanochat"))
    assert not clean
    assert frame is not None
    assert b"[DONE]" not in frame


@given(
    st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.text()), max_size=3),
    st.none() | st.integers(1, 4096),
    st.lists(st.text(), max_size=4),
)
def test_a_request_crosses_the_pipe_unchanged(
    messages: list[tuple[str, str]], tokens: int | None, stop: list[str]
) -> None:
    request = GenerationRequest(
        tuple(Message(*message) for message in messages), 0.5, 7, tokens, tuple(stop), seed=1
    )
    assert from_frame(json.loads(json.dumps(to_frame(request)))) == request
    assert from_frame(to_frame(END)) == END
    assert from_frame(to_frame(Token("x", 2))) == Token("x", 2)
