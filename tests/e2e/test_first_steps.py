"""The first steps of the documentation, run as they stand there (the last in tests/http/internal)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.blocks import events, page, section, shell
from tests.e2e.server import ROOT, Server, serving
from tests.support.listening import HELLO_TEXT

pytestmark = pytest.mark.timeout(600)
PAGE = page("guide/start.md")
HELLO = "contrib/samples/hello.wav"


@pytest.fixture(scope="module")
def demo() -> Iterator[Server]:
    with serving(fake=False, flags=["--demo"]) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the page is worked through: it finds the recording as in a clone."""
    (tmp_path / HELLO).parent.mkdir(parents=True)
    (tmp_path / HELLO).write_bytes((ROOT / HELLO).read_bytes())
    return tmp_path


def only(heading: str) -> tuple[str, str]:
    """The one shell block of a section."""
    (block,) = [block for block in section(PAGE, heading) if block[0] == "sh"]
    return block


def test_every_shell_block_is_run_somewhere() -> None:
    headings = re.findall(r"^## (.+)$", PAGE, re.M)
    told = {h: sum(block[0] == "sh" for block in section(PAGE, h)) for h in headings}
    assert {heading: n for heading, n in told.items() if n} == {
        "First transcript": 1,
        "First stream": 1,
        "First chat": 2,
        "First swap": 2,
        "When something else is running": 1,
    }


def test_first_transcript(demo: Server, folder: Path) -> None:
    told = json.loads(shell(only("First transcript"), demo, folder))
    (shown,) = [text for language, text in section(PAGE, "First transcript") if language == "json"]
    assert list(told) == list(json.loads(shown)) == ["text"]
    assert json.loads(shown)["text"] == HELLO_TEXT
    assert "weather" in told["text"]


def test_first_stream(demo: Server, folder: Path) -> None:
    *deltas, done = events(shell(only("First stream"), demo, folder))
    assert done["type"] == "transcript.text.done"
    assert "".join(event["delta"] for event in deltas) == done["text"]
    assert all(event["segment"]["words"] for event in deltas)


def test_first_chat_and_speech(demo: Server, folder: Path) -> None:
    chat, speech = section(PAGE, "First chat")
    chunks = events(shell(chat, demo, folder))
    said = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert said.startswith("This is a scripted answer")
    shell(speech, demo, folder)
    assert (folder / "hello-again.mp3").stat().st_size > 1000


def test_standing_in_line(demo: Server, folder: Path) -> None:
    assert "weather" in json.loads(shell(only("When something else is running"), demo, folder))["text"]
