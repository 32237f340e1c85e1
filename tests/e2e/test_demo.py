"""`aistack serve --demo`: chat and speech by scripted upstreams that say so, nothing left behind."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
import wave
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from aistack.demo import chat, speech
from tests.e2e.server import ROOT, Server, Vitals, serving, until
from tests.e2e.talk import BOUND_S
from tests.http.gateway.client import Client

CHAT, SPEECH = "/v1/chat/completions", "/v1/audio/speech"
JSON = {"Content-Type": "application/json"}
MESSAGES: Any = [{"role": "user", "content": "a word or two"}]
SAID = chat.ANSWER.format(count=4)
TEXT = "I sing of arms"


@pytest.fixture(scope="module")
def demo() -> Iterator[Server]:
    with serving(fake=False, flags=["--demo"], grace_s=BOUND_S) as server:
        yield server


@pytest.fixture
def client(demo: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{demo.url}/v1", api_key="any", timeout=BOUND_S, _strict_response_validation=True
    ) as client:
        yield client


def ask(server: Server, path: str, **members: Any) -> Any:
    return Client(server.port).ask("POST", path, json.dumps(members), JSON)


def test_the_screen_says_that_answers_are_scripted(demo: Server) -> None:
    told = (demo.folder / "stderr").read_text()
    assert "DEMO: chat and speech are scripted" in told
    assert f"{chat.MODEL} (scripted answers" in told
    assert f"{demo.url}{CHAT}" in told
    assert f"{demo.url}{SPEECH}" in told


def test_what_is_listed(client: openai.OpenAI) -> None:
    assert {chat.MODEL, speech.MODEL, "auto", "pocketsphinx-en-us", "espeak-ng"} <= {
        model.id for model in client.models.list()
    }


def test_chat_whole_and_streamed(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model=chat.MODEL, messages=MESSAGES)
    assert whole.choices[0].message.content == SAID
    assert "scripted" in SAID
    options: Any = {"include_usage": True}
    *chunks, last = client.chat.completions.create(
        model=chat.MODEL, messages=MESSAGES, stream=True, stream_options=options
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == SAID
    assert len(chunks) == len(SAID.split()) + 1
    assert last.usage is not None
    assert last.usage.completion_tokens == len(SAID.split())


def test_a_chat_that_ollama_would_refuse_too(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as unknown:
        client.chat.completions.create(model="llama3", messages=MESSAGES)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as empty:
        client.chat.completions.create(model=chat.MODEL, messages=[])
    assert empty.value.code == "upstream_rejected"


@pytest.mark.parametrize("model", [speech.MODEL, "tts-1"])
def test_speech_is_a_note_per_word(client: openai.OpenAI, model: str) -> None:
    whole = client.audio.speech.create(model=model, voice="alloy", input=TEXT, response_format="wav")
    with wave.open(io.BytesIO(whole.content)) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (24_000, 1, 2)
        samples = sound.readframes(sound.getnframes())
    assert samples == b"".join(speech.notes(TEXT))
    assert len(set(speech.notes(TEXT))) == 3, "words of one, two and four letters"
    with client.audio.speech.with_streaming_response.create(
        model=model,
        voice="alloy",
        input=TEXT,
        response_format="pcm",
        extra_body={"stream": True},
    ) as streamed:
        assert b"".join(streamed.iter_bytes()) == samples


def test_speech_as_events(demo: Server) -> None:
    answer = ask(demo, SPEECH, input=TEXT, stream_format="sse", response_format="pcm")
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    assert [event["type"].rpartition(".")[2] for event in events] == ["delta"] * 4 + ["done"]


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"input": TEXT, "response_format": "mp3"}, "wav and pcm"),
        ({"input": 5}, "input must be"),
        ({"input": "x" * 4097}, "4096"),
    ],
)
def test_speech_that_is_refused(demo: Server, members: dict[str, Any], says: str) -> None:
    answer = ask(demo, SPEECH, **members)
    assert (answer.status, answer.error["code"]) == (400, "upstream_rejected")
    assert says in answer.error["message"]


def test_the_embedded_voice_speaks_beside_it(client: openai.OpenAI) -> None:
    spoken = client.audio.speech.create(model="espeak-ng", voice="alloy", input="Hello")
    assert len(spoken.content) > 1000
    assert client.chat.completions.create(model=chat.MODEL, messages=MESSAGES).choices


def test_it_ends_with_the_gateway_and_lets_a_stream_finish() -> None:
    with serving(fake=False, flags=["--demo"], grace_s=BOUND_S) as server:
        ports = {each.laddr.port for each in server.me.net_connections("tcp")}
        assert len(ports) == 3
        body = json.dumps({"model": chat.MODEL, "messages": MESSAGES, "stream": True})
        call = Client(server.port).begin("POST", CHAT, body, JSON)
        assert b"This" in call.response.readline()
        children = server.me.children(recursive=True)
        assert server.stop() == 0
        rest = call.answer()
        assert rest.complete
        assert rest.text.endswith("data: [DONE]\n\n")
        assert not any(child.is_running() for child in children)
        assert server.log.raw == []
    for port in ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_nothing_is_left_behind(demo: Server) -> None:
    """At rest after forty calls it looks as after twenty."""
    body = {"model": chat.MODEL, "messages": MESSAGES}

    def ten() -> Vitals:
        for _ in range(10):
            assert ask(demo, CHAT, **body).status == 200
            assert ask(demo, SPEECH, input=TEXT).status == 200
        until(demo.unconnected, "no connection, not even an idle one to an upstream")
        return demo.vitals()

    first = ten()
    assert ten() == first


def test_demo_and_fake_exclude_each_other() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "aistack", "serve", "--demo", "--fake", "--port", "0"],
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 2
    assert "Use either --demo or --fake, not both." in done.stderr
