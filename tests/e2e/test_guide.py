"""The blocks of the integration guide, run as they stand there against a real `aistack serve --demo`."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.blocks import HERE, Block, events, page, section, shell
from tests.e2e.conftest import command
from tests.e2e.server import AUDIO, Server, serving, until
from tests.e2e.talk import BOUND_S, PATH, SAID, SAY, script, transcribe
from tests.support.listening import SPOKEN, plain

pytestmark = pytest.mark.timeout(900)  # a fresh machine installs node and npm first
PAGE = page("guide/integration.md")
WORDS = plain(SPOKEN["digits-en.wav"]["text"])
ANSWER = "This is a scripted answer of aistack's demo."


CURL, PYTHON, NODE, HTTPX, AGAIN = (
    section(PAGE, heading)
    for heading in (
        "curl",
        "OpenAI's library for Python",
        "OpenAI's library for JavaScript",
        "Without a library: httpx",
        "Trying again",
    )
)


@pytest.fixture(scope="module")
def demo_server() -> Iterator[Server]:
    with serving(fake=False, flags=["--demo"]) as server:
        yield server


@pytest.fixture
def demo(demo_server: Server) -> Iterator[Server]:
    """Afterwards the slot is free: the next request is not refused, and no upload is left."""
    yield demo_server
    probe = transcribe((AUDIO / "digits-en.wav").read_bytes(), model="whisper-small")
    until(lambda: demo_server.say(probe).status == 200, "a free slot")
    until(lambda: os.listdir(demo_server.spool) == [], "no upload left")


Play = Callable[[Block, Server], str]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Runs a block in a folder with a recording, as a user would; the result is what it printed."""
    shutil.copy(AUDIO / "digits-en.wav", tmp_path / "speech.wav")

    def run(block: Block, server: Server) -> str:
        language, text = block
        if language == "sh":
            return shell(block, server, tmp_path)
        assert language == "python"
        assert HERE in text
        (tmp_path / "example.py").write_text(text.replace(HERE, server.url))
        return command(sys.executable, "example.py", cwd=tmp_path, bound_s=2 * BOUND_S)

    return run


def test_every_block_of_the_page_is_run_here() -> None:
    tested = [*CURL, *PYTHON, *NODE, *HTTPX, *AGAIN]
    assert [language for language, _ in tested] == ["sh"] * 3 + ["python"] * 4 + [
        "js",
        "python",
        "python",
    ]
    others = re.findall(r"^```(\w+)$", PAGE, re.M)
    assert others == ["console", *(language for language, _ in tested)]


def test_curl_models_a_transcript_and_subtitles(demo: Server, play: Play) -> None:
    told = play(CURL[0], demo)
    decoder = json.JSONDecoder()
    models, end = decoder.raw_decode(told)
    transcript, end = decoder.raw_decode(told, end)
    assert {"auto", "demo-chat"} <= {model["id"] for model in models["data"]}
    assert plain(transcript["text"]) == WORDS
    assert re.match(r"1\n00:00:0\d,\d{3} --> ", told[end:])


def test_curl_a_stream(demo: Server, play: Play) -> None:
    *deltas, done = events(play(CURL[1], demo))
    assert plain(done["text"]) == WORDS
    assert "".join(event["delta"] for event in deltas) == done["text"]


def test_curl_chat(demo: Server, play: Play) -> None:
    answer = json.loads(play(CURL[2], demo))
    assert answer["choices"][0]["message"]["content"].startswith(ANSWER)


def test_openai_python_words(demo: Server, play: Play) -> None:
    text, *words = play(PYTHON[0], demo).splitlines()
    assert plain(text) == WORDS
    assert plain(" ".join(line.split(maxsplit=1)[1] for line in words)) == WORDS


def test_openai_python_stream(demo: Server, play: Play) -> None:
    text, last = play(PYTHON[1], demo).splitlines()
    assert plain(text) == WORDS
    assert re.fullmatch(r"en, \d+\.\d+ s", last)


def test_openai_python_chat_and_speech(demo: Server, play: Play, tmp_path: Path) -> None:
    assert play(PYTHON[2], demo).startswith(ANSWER)
    assert (tmp_path / "answer.wav").read_bytes()[:4] == b"RIFF"


def test_openai_python_errors(demo: Server, play: Play) -> None:
    status, code, kind, request_id = play(PYTHON[3], demo).split()
    assert (status, code, kind) == ("400", "unsupported_audio", "malformed")
    demo.log.wait("http.access", request_id=request_id)


def test_openai_node(demo: Server, node_folder: Path) -> None:
    ((language, text),) = NODE
    assert language == "js"
    shutil.copy(AUDIO / "digits-en.wav", node_folder / "speech.wav")
    (node_folder / "example.mjs").write_text(text.replace(HERE, demo.url))
    heard, answer = command("node", "example.mjs", cwd=node_folder, bound_s=2 * BOUND_S).splitlines()
    assert plain(heard) == WORDS
    assert answer.startswith(ANSWER)


def test_httpx_stream(demo: Server, play: Play) -> None:
    assert plain(play(HTTPX[0], demo)) == WORDS


def test_httpx_stream_tells_what_went_wrong(fake: Server, tmp_path: Path) -> None:
    """The same function, with failures before and after the first event."""
    text = HTTPX[0][1].replace(HERE, fake.url).partition("\n\nfor delta in")[0]
    space: dict[str, Any] = {}
    exec(compile(text.replace('"model": "auto"', '"model": "fake-small"'), "guide", "exec"), space)
    audio = tmp_path / "script.wav"
    audio.write_text(json.dumps([*SAY, {"fail": "oom"}]))
    heard = space["listen"](str(audio))
    assert next(heard) + next(heard) == SAID
    with pytest.raises(RuntimeError, match="Not enough memory"):
        next(heard)
    audio.write_text(json.dumps([{"fail": "malformed"}]))
    with pytest.raises(RuntimeError, match="could not be read as audio"):
        next(space["listen"](str(audio)))


def test_trying_again_as_shown(demo: Server, play: Play) -> None:
    assert plain(play(AGAIN[0], demo)) == WORDS


def _ask() -> tuple[Any, list[float]]:
    """The helper of the page, with a clock of the test's: seconds it wanted to sleep."""
    space: dict[str, Any] = {}
    exec(compile(AGAIN[0][1].partition("\n\nwith open(")[0], "guide", "exec"), space)
    slept: list[float] = []

    class Clock:
        sleep = staticmethod(slept.append)

    space["time"] = Clock
    return space["ask"], slept


def test_trying_again_waits_as_told_until_the_slot_is_free(fake: Server) -> None:
    ask, slept = _ask()
    holder = fake.begin(script({"gate": "holder"}, *SAY))
    at_gate = fake.gates.entered("holder")
    before = len(fake.log.find("http.access", path=PATH, status=503))
    freed = threading.Event()

    def free() -> None:
        fake.log.wait("http.access", count=before + 1, path=PATH, status=503)
        fake.gates.let_pass(at_gate)
        holder.reply()
        holder.close()
        freed.set()

    waiting = threading.Thread(target=free)
    waiting.start()
    with httpx.Client(timeout=BOUND_S) as client:

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            assert freed.wait(BOUND_S)

        ask.__globals__["time"].sleep = staticmethod(sleep)
        files = {"file": json.dumps(list(SAY)).encode()}
        answer = ask(client, "POST", fake.url + PATH, files=files, data={"model": "fake-small"})
    waiting.join(BOUND_S)
    assert answer.json()["text"] == SAID
    assert len(slept) == 1
    assert 5 <= slept[0] <= 5.5


@pytest.mark.parametrize(
    ("status", "headers", "calls", "waits"),
    [
        (503, {"Retry-After": "5"}, 3, 2),
        (503, {}, 3, 2),
        (503, {"x-should-retry": "false"}, 1, 0),
        (500, {"x-should-retry": "false"}, 1, 0),
        (400, {}, 1, 0),
        (200, {}, 1, 0),
    ],
)
def test_trying_again_knows_when_to_stop(
    status: int, headers: dict[str, str], calls: int, waits: int
) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(status, headers=headers)

    ask, slept = _ask()
    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        last = ask(client, "GET", "http://aistack/v1/models", tries=3)
    assert (last.status_code, len(seen), len(slept)) == (status, calls, waits)
    assert all(seconds >= float(headers.get("Retry-After", 0.5)) for seconds in slept)
