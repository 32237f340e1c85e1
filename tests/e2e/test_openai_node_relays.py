"""OpenAI's own JavaScript library at chat and speech, by the real command line, before doubles."""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.ollama import WORDS
from tests.doubles.upstreams import CHAT, SPEECH, Upstreams
from tests.doubles.vllm_omni import tone
from tests.e2e.server import Server

pytestmark = pytest.mark.timeout(900)  # a fresh machine installs node first
CLIENT = Path(__file__).with_name("openai_relays.mjs")
SAID = "".join(WORDS)
Run = Callable[[Server, str], Any]


@pytest.fixture
def node(run_node: Callable[[Path, Server, str], Any]) -> Run:
    return functools.partial(run_node, CLIENT)


def test_chat_whole_and_streamed(relays: Server, node: Run) -> None:
    told = node(relays, "chat")
    assert told == {"whole": SAID, "reason": "stop", "streamed": SAID, "final": SAID}


def test_chat_tools(relays: Server, node: Run) -> None:
    told = node(relays, "tools")
    for (call,) in (told["whole"], told["streamed"]):
        assert call["function"] == {"name": "weather", "arguments": '{"city":"Bern"}'}


def test_errors(relays: Server, node: Run) -> None:
    told = node(relays, "errors")
    assert {
        name: (seen["is"], seen["status"], seen["code"], seen["body"]["provider"])
        for name, seen in told.items()
    } == {
        "whole": ("BadRequestError", 400, "model_not_found", "ollama"),
        "streamed": ("BadRequestError", 400, "model_not_found", "ollama"),
        "speech": ("BadRequestError", 400, "upstream_rejected", "Qwen3-TTS"),
    }
    assert all("nobody" in seen["message"] for seen in told.values())


def test_a183_ollama_is_down(relays: Server, upstreams: Upstreams, node: Run) -> None:
    before = len(relays.log.find("http.access", path=CHAT, status=503))
    with upstreams.down(upstreams.ollama):
        told = node(relays, "down")
    assert (told["is"], told["status"]) == ("InternalServerError", 503)
    assert (told["code"], told["body"]["kind"]) == ("backend_unreachable", "network")
    relays.log.wait("http.access", count=before + 1, path=CHAT, status=503)
    assert len(relays.log.find("http.access", path=CHAT, status=503)) == before + 1, "asked once"


def test_a188_an_aborted_chat_stream(relays: Server, upstreams: Upstreams, node: Run) -> None:
    cancelled = len(relays.log.find("job.done", outcome="cancelled", op="chat"))
    upstreams.ollama.gate_at = 1
    upstreams.shut(upstreams.ollama)
    assert node(relays, "cancel") == WORDS[0]
    assert upstreams.ended(upstreams.ollama, CHAT) == "cut"
    relays.log.wait("job.done", count=cancelled + 1, outcome="cancelled", op="chat")


@pytest.mark.parametrize("how", ["silent", "reset"])
def test_wire_49_a_crash_in_a_chat_stream_raises(
    relays: Server, upstreams: Upstreams, node: Run, how: str
) -> None:
    if how == "silent":
        upstreams.ollama.die_after = 2
    else:
        upstreams.ollama.fail(CHAT, "cut")
    told = node(relays, "crash_stream")
    assert (told["is"], told["code"], told["body"]["provider"]) == (
        "APIError",
        "upstream_error",
        "ollama",
    )
    assert "in the middle of its answer" in told["message"]
    assert told["heard"][0], "what came before is kept"
    helper = node(relays, "crash_helper")
    assert (helper["api"], helper["code"]) == (True, "upstream_error")
    assert len(upstreams.ollama.called(CHAT)) == 2, "neither is asked again by itself"


def test_a_crash_in_a_whole_chat_or_speech_is_never_a_short_answer(
    relays: Server, upstreams: Upstreams, node: Run
) -> None:
    upstreams.ollama.fail(CHAT, "cut")
    upstreams.omni.fail(SPEECH, "cut")
    for case in ("crash_whole", "crash_speech"):
        told = node(relays, case)
        # The head had come, so that it is fetch that fails, not the library's call.
        assert (told["is"], told["message"], told["api"]) == ("TypeError", "terminated", False)
    assert len(upstreams.ollama.called(CHAT)) == len(upstreams.omni.called(SPEECH)) == 1


def test_speech_whole_and_streamed(relays: Server, node: Run) -> None:
    told = node(relays, "speech")
    expected = b"".join(tone("one two three"))
    assert told["type"] == "audio/pcm"
    assert base64.b64decode(told["whole"]) == base64.b64decode(told["streamed"]) == expected
    assert told["pieces"] >= 1
