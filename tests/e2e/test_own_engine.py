"""The documentation's engine, in a package of its own, found by its entry point, asked by HTTP."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.blocks import page
from tests.e2e.packages import install
from tests.e2e.server import AUDIO, ROOT, Server, serving
from tests.e2e.talk import PATH, transcribe

PAGE = page("internals/adding-an-engine.md")
WAV = (AUDIO / "digits-en.wav").read_bytes()


def block(language: str) -> str:
    before, _, rest = PAGE.partition(f"\n```{language}\n")
    assert before != PAGE
    return rest.partition("\n```\n")[0] + "\n"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as pip would have installed it."""
    folder = tmp_path_factory.mktemp("site")
    ((group, points),) = tomllib.loads(block("toml"))["project"]["entry-points"].items()
    ((name, dotted),) = points.items()
    install(folder, dotted.partition(":")[0], block("python"), name, dotted, group)
    return folder


@pytest.fixture(scope="module")
def server(package: Path) -> Iterator[Server]:
    with serving(fake=False, environ={"PYTHONPATH": f"{ROOT}:{package}"}) as server:
        yield server


def test_it_is_listed(server: Server) -> None:
    listed = json.loads(server.say(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n").body)["data"]
    (entry,) = [entry for entry in listed if entry["id"] == "loudness-1"]
    assert entry["owned_by"] == "example"
    assert entry["capabilities"] == ["asr"]


def test_it_answers_in_every_way(server: Server) -> None:
    whole = server.say(transcribe(WAV, model="loudness-1"))
    assert whole.status == 200, whole.body
    assert whole.text.count("percent") == 3
    *deltas, done = server.say(transcribe(WAV, model="loudness-1", stream="true")).events
    assert len(deltas) == 3
    assert "".join(event["delta"] for event in deltas) == done["text"] == whole.text
    srt = server.say(transcribe(WAV, model="loudness-1", response_format="srt")).body.decode()
    assert srt.startswith("1\n00:00:00,000 --> 00:00:01,000\n")


def test_what_it_cannot_read_is_a_400(server: Server) -> None:
    said = server.say(transcribe(b"no audio at all", model="loudness-1"))
    assert said.told == (400, "malformed", "unsupported_audio")
    server.log.wait("http.access", path=PATH, status=400)
