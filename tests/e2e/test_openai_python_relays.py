"""OpenAI's own Python library at chat and speech, by the real command line, before doubles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.doubles.ollama import WORDS
from tests.doubles.upstreams import CHAT, MODEL, SPEECH, TTS_ID, Upstreams
from tests.doubles.vllm_omni import tone
from tests.e2e.server import Server
from tests.e2e.talk import BOUND_S

SAID = "".join(WORDS)
MESSAGES: Any = [{"role": "user", "content": "hi"}]
TOOLS: Any = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
TEXT = "one two three"


def client_of(server: Server, strict: bool = False, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=f"{server.url}/v1",
        api_key="any",
        timeout=BOUND_S,
        _strict_response_validation=strict,
        **options,
    )


@pytest.fixture(params=[False, True], ids=["normal", "strict"])
def client(relays: Server, request: pytest.FixtureRequest) -> Iterator[openai.OpenAI]:
    with client_of(relays, strict=request.param) as client:
        yield client


def cancelled(server: Server, op: str) -> int:
    """Jobs of this kind whose client left, up to now."""
    return len(server.log.find("job.done", outcome="cancelled", op=op))


# --- chat ---------------------------------------------------------------------------------------------


def test_a175_chat_whole(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=MESSAGES)
    (choice,) = answer.choices
    assert (choice.message.content, choice.finish_reason) == (SAID, "stop")
    assert answer.usage is not None
    assert answer.usage.completion_tokens == len(WORDS)


def test_a179_chat_stream(client: openai.OpenAI) -> None:
    options: Any = {"include_usage": True}
    stream = client.chat.completions.create(
        model=MODEL, messages=MESSAGES, stream=True, stream_options=options
    )
    chunks = list(stream)
    deltas = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert "".join(deltas) == SAID
    assert chunks[-1].usage is not None
    assert [choice.finish_reason for choice in chunks[-2].choices] == ["stop"]


def test_chat_by_the_librarys_own_accumulation(relays: Server) -> None:
    with (
        client_of(relays) as client,
        client.chat.completions.stream(model=MODEL, messages=MESSAGES) as stream,
    ):
        final = stream.get_final_completion()
    assert (final.choices[0].message.content, final.choices[0].finish_reason) == (SAID, "stop")


def test_chat_tools(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model=MODEL, messages=MESSAGES, tools=TOOLS)
    calls: Any = whole.choices[0].message.tool_calls
    assert whole.choices[0].finish_reason == "tool_calls"
    streamed = client.chat.completions.create(model=MODEL, messages=MESSAGES, tools=TOOLS, stream=True)
    deltas: list[Any] = [
        call for chunk in streamed for choice in chunk.choices for call in choice.delta.tool_calls or ()
    ]
    for (call,) in (calls, deltas):
        assert (call.function.name, call.function.arguments) == ("weather", '{"city":"Bern"}')


@pytest.mark.parametrize("stream", [False, True])
def test_a184_chat_error(client: openai.OpenAI, upstreams: Upstreams, stream: bool) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="nobody", messages=MESSAGES, stream=stream)
    error: Any = refused.value
    assert (error.status_code, error.code, error.param) == (400, "model_not_found", "model")
    assert (error.body["kind"], error.body["provider"]) == ("malformed", "ollama")
    assert "nobody" in error.message
    assert error.request_id


def test_a183_ollama_is_down(relays: Server, upstreams: Upstreams) -> None:
    """Told once, and not asked again: only someone can start it."""
    before = len(relays.log.find("http.access", path=CHAT, status=503))
    with (
        upstreams.down(upstreams.ollama),
        client_of(relays) as client,
        pytest.raises(openai.InternalServerError) as failed,
    ):
        client.chat.completions.create(model=MODEL, messages=MESSAGES)
    error: Any = failed.value
    assert (error.status_code, error.code) == (503, "backend_unreachable")
    assert (error.body["kind"], error.body["provider"]) == ("network", "ollama")
    assert "ollama serve" in error.message
    relays.log.wait("http.access", count=before + 1, path=CHAT, status=503)
    assert len(relays.log.find("http.access", path=CHAT, status=503)) == before + 1


def test_a188_closing_a_chat_stream(relays: Server, upstreams: Upstreams) -> None:
    before = cancelled(relays, "chat")
    upstreams.ollama.gate_at = 1
    upstreams.shut(upstreams.ollama)
    with client_of(relays) as client:
        stream = client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        assert next(iter(stream)).choices[0].delta.content == WORDS[0]
        stream.close()
        assert upstreams.ended(upstreams.ollama, CHAT) == "cut"
        relays.log.wait("job.done", count=before + 1, outcome="cancelled", op="chat")
        upstreams.open(upstreams.ollama)
        assert client.chat.completions.create(model=MODEL, messages=MESSAGES).choices


def test_a189_giving_up_on_a_whole_chat(relays: Server, upstreams: Upstreams) -> None:
    """The library's own time limit: Ollama stops, the slot is free."""
    before = cancelled(relays, "chat")
    upstreams.shut(upstreams.ollama)
    with client_of(relays, max_retries=0) as client:
        with pytest.raises(openai.APITimeoutError):
            client.chat.completions.create(model=MODEL, messages=MESSAGES, timeout=0.5)
        assert upstreams.ended(upstreams.ollama, CHAT) == "cut"
        relays.log.wait("job.done", count=before + 1, outcome="cancelled", op="chat")
        upstreams.open(upstreams.ollama)
        assert client.chat.completions.create(model=MODEL, messages=MESSAGES).choices


@pytest.mark.parametrize("how", ["silent", "reset"])
def test_wire_49_a_crash_in_a_chat_stream_raises(
    client: openai.OpenAI, upstreams: Upstreams, how: str
) -> None:
    """What came before it is kept; then an APIError with our code. Not asked again by itself."""
    if how == "silent":
        upstreams.ollama.die_after = 2
    else:
        upstreams.ollama.fail(CHAT, "cut")
    heard = []
    with pytest.raises(openai.APIError) as failed:
        for chunk in client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True):
            heard.append(chunk.choices[0].delta.content)
    assert heard[0]
    error = failed.value
    assert type(error) is openai.APIError
    assert error.code == "upstream_error"
    assert isinstance(error.body, dict)
    assert (error.body["kind"], error.body["provider"]) == ("unknown", "ollama")
    assert "in the middle of its answer" in error.message
    assert len(upstreams.ollama.called(CHAT)) == 1


def test_a_crash_in_a_whole_chat_is_a_connection_error(relays: Server, upstreams: Upstreams) -> None:
    """Half an answer is no answer; the library asks again by itself, unless told not to."""
    upstreams.ollama.fail(CHAT, "cut")
    with client_of(relays, max_retries=0) as client, pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert len(upstreams.ollama.called(CHAT)) == 1
    upstreams.renew()
    upstreams.ollama.fail(CHAT, "cut", times=1)
    with client_of(relays) as client:
        answer = client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert answer.choices[0].message.content == SAID
    assert len(upstreams.ollama.called(CHAT)) == 2


# --- speech -------------------------------------------------------------------------------------------


def test_a159_speech_whole(client: openai.OpenAI) -> None:
    sound = client.audio.speech.create(model=TTS_ID, voice="alloy", input=TEXT, response_format="pcm")
    assert sound.response.headers["content-type"] == "audio/pcm"
    assert sound.content == b"".join(tone(TEXT))


def test_a165_speech_streamed(client: openai.OpenAI, upstreams: Upstreams) -> None:
    """The first sound is there before the rest exists."""
    upstreams.shut(upstreams.omni)
    blocks = tone(TEXT)
    with client.audio.speech.with_streaming_response.create(
        model="tts-1",
        voice="alloy",
        input=TEXT,
        response_format="pcm",
        extra_body={"stream": True, "stream_format": "audio"},
    ) as sound:
        pieces = sound.iter_bytes()
        first = next(pieces)
        assert blocks[0].startswith(first)
        assert upstreams.omni.called(SPEECH)[-1].ended == ""
        upstreams.open(upstreams.omni)
        assert first + b"".join(pieces) == b"".join(blocks)


def test_a166_speech_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.audio.speech.create(model=TTS_ID, voice="nobody", input=TEXT)
    error: Any = refused.value
    assert (error.code, error.body["provider"]) == ("upstream_rejected", "Qwen3-TTS")
    assert "nobody" in error.message


def test_a170_closing_a_stream_of_speech(relays: Server, upstreams: Upstreams) -> None:
    before = cancelled(relays, "speak")
    upstreams.shut(upstreams.omni)
    streamed = {"stream": True, "stream_format": "audio"}
    with client_of(relays) as client:
        with client.audio.speech.with_streaming_response.create(
            model=TTS_ID, voice="vivian", input=TEXT, response_format="pcm", extra_body=streamed
        ) as sound:
            assert next(sound.iter_bytes())
        assert upstreams.ended(upstreams.omni, SPEECH) == "cut"
        relays.log.wait("job.done", count=before + 1, outcome="cancelled", op="speak")
        upstreams.open(upstreams.omni)
        assert client.audio.speech.create(model=TTS_ID, voice="vivian", input=TEXT).content


def test_a_crash_in_speech_is_never_a_short_answer(relays: Server, upstreams: Upstreams) -> None:
    """Read as a stream it is its transport's error, whole a connection error, asked again by itself."""
    upstreams.omni.fail(SPEECH, "cut")
    with client_of(relays, max_retries=0) as client:
        heard = b""
        with (
            client.audio.speech.with_streaming_response.create(
                model=TTS_ID, voice="vivian", input=TEXT
            ) as sound,
            pytest.raises(Exception, match="peer closed connection") as cut,
        ):
            for piece in sound.iter_bytes():
                heard += piece
        assert heard.startswith(b"RIFF")
        assert type(cut.value).__name__ == "RemoteProtocolError", "of whichever httpx the library has"
        with pytest.raises(openai.APIConnectionError):
            client.audio.speech.create(model=TTS_ID, voice="vivian", input=TEXT)
    upstreams.renew()
    upstreams.omni.fail(SPEECH, "cut", times=1)
    with client_of(relays) as client:
        whole = client.audio.speech.create(model=TTS_ID, voice="vivian", input=TEXT)
    assert whole.content.endswith(tone(TEXT)[-1])
    assert len(upstreams.omni.called(SPEECH)) == 2
