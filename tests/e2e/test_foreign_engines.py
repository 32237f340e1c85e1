"""Engines of other packages are full citizens: listed, routed by `auto`, looked for on the disk, named
by the start-up screen and by `doctor`, switched off, and still understood if they are a release old."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aistack.engines import ENGINES
from tests.e2e.packages import install
from tests.e2e.server import AUDIO, ROOT, Server, serving
from tests.e2e.talk import BOUND_S, transcribe

WAV = (AUDIO / "digits-en.wav").read_bytes()

DIALECT = '''
"""Swiss German and German; its weights are one file, which it cannot fetch."""

from pathlib import Path

from aistack.chunks import Segment, Transcript
from aistack.engines.base import EngineDefaults, OfferedModel


class Dialect(EngineDefaults):
    name = "dialect"
    provider = "Dialect"
    install = "pip install aistack-dialect"
    interleaves = True

    def models(self):
        return (OfferedModel("dialect-1", "example", "asr", ("gsw", "de"), names=("mundart",)),)

    def weights(self, model, environ):
        return Path(environ["DIALECT_WEIGHTS"]).is_file()

    def warm(self):
        pass

    def load(self, model, report):
        pass

    def run(self, request, cancel):
        yield Segment(0.0, 1.0, f"gruezi {request.language}", None)
        return Transcript("gsw", 1.0)
'''

ELDER = '''
"""An engine as the last release wanted it."""

from aistack.backends.base import ModelCard
from aistack.chunks import Segment, Transcript


class Elder:
    name = "elder"
    provider = "Elder"
    requires = ("wave",)
    install = "pip install aistack-elder"
    kill_after_s = 1.0

    def cards(self):
        return (ModelCard("elder-1", "example", "asr", ("en",)),)

    def warm(self):
        pass

    def load(self, model, report):
        pass

    def run(self, request, cancel):
        yield Segment(0.0, 1.0, "as ever", None)
        return Transcript("en", 1.0)

    def kind_of(self, exc):
        return None
'''


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    install(folder, "aistack_dialect", DIALECT, "dialect", "aistack_dialect:Dialect", "aistack.engines")
    install(folder, "aistack_elder", ELDER, "elder", "aistack_elder:Elder", "aistack.backends")
    return folder


def environ(site: Path, weights: Path, **more: str) -> dict[str, str]:
    return {"PYTHONPATH": f"{ROOT}:{site}", "DIALECT_WEIGHTS": str(weights), **more}


@pytest.fixture(scope="module")
def with_weights(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    weights = tmp_path_factory.mktemp("weights") / "dialect.bin"
    weights.write_bytes(b"x")
    with serving(fake=False, environ=environ(site, weights)) as server:
        yield server


@pytest.fixture(scope="module")
def without_weights(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    nowhere = tmp_path_factory.mktemp("weights") / "dialect.bin"
    with serving(fake=False, environ=environ(site, nowhere)) as server:
        yield server


def listed(server: Server) -> list[str]:
    said = server.say(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return [entry["id"] for entry in json.loads(said.body)["data"]]


def served(server: Server, **fields: str) -> str:
    """The model that a transcription reaches."""
    said = server.say(transcribe(WAV, None, **fields))
    assert said.status == 200, said.body
    return said.headers["x-aistack-model"]


def screen(server: Server) -> str:
    """The start-up screen; it is printed right after the line that the fixture waited for."""
    server.settle()
    return (server.folder / "stderr").read_text()


def test_with_its_weights_it_is_listed_routed_and_named(with_weights: Server) -> None:
    assert {"dialect-1", "elder-1"} <= set(listed(with_weights))
    assert served(with_weights, language="gsw-CH") == "dialect-1", "nobody else knows the language"
    assert served(with_weights, model="Mundart") == "dialect-1"
    assert served(with_weights, language="en") == "whisper-small", "ours come first"
    assert "+ Dialect " in screen(with_weights) and "dialect-1" in screen(with_weights)


def test_its_language_reaches_it_as_a_hint(with_weights: Server) -> None:
    said = with_weights.say(transcribe(WAV, model="dialect-1", language="GSW"))
    assert said.text == "gruezi gsw"


def test_without_its_weights_it_is_neither_listed_nor_chosen(without_weights: Server) -> None:
    assert "dialect-1" not in listed(without_weights)
    assert served(without_weights, language="gsw") == "whisper-small"
    assert "- Dialect " in screen(without_weights)
    assert "its model files are not on this machine" in screen(without_weights)


def test_an_engine_of_the_last_release_works_and_the_log_names_it(with_weights: Server) -> None:
    assert with_weights.say(transcribe(WAV, model="elder-1")).text == "as ever"
    assert "+ Elder " in screen(with_weights)
    with_weights.log.wait("engine.outdated", engine="elder")


def test_switched_off_it_is_not_there(site: Path, tmp_path: Path) -> None:
    off = environ(site, tmp_path / "none", AISTACK_ENGINES__DISABLED="dialect,elder")
    with serving(fake=False, environ=off) as server:
        assert not {"dialect-1", "elder-1"} & set(listed(server))
        assert server.say(transcribe(WAV, model="dialect-1")).status == 400
        assert "Dialect" not in screen(server)


def test_doctor_names_it(site: Path, tmp_path: Path) -> None:
    ours = ",".join(ENGINES)
    variables = environ(site, tmp_path / "none", AISTACK_ENGINES__DISABLED=ours, HF_HUB_OFFLINE="1")
    done = subprocess.run(
        [sys.executable, "-m", "aistack", "doctor", "--json"],
        env=os.environ | variables | {"XDG_CONFIG_HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=2 * BOUND_S,
        check=False,
    )
    found = {(each["group"], each["name"]): each for each in json.loads(done.stdout)["findings"]}
    assert found["Engines", "Dialect"]["state"] == "works"
    assert found["Engines", "Elder"]["state"] == "works"
    weights = found["Models", "dialect-1"]
    assert (weights["state"], "cannot fetch" in weights["says"]) == ("missing", True)
    assert "help" not in weights
