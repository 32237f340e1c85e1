"""OpenAI's own JavaScript library, the newest, against the real command line."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import Server
from tests.e2e.talk import BOUND_S, PATH, SAID, SAY, script
from tests.support.listening import SPOKEN, plain

pytestmark = pytest.mark.timeout(900)  # a fresh machine installs node first
CLIENT = Path(__file__).with_name("openai_client.mjs")
WORDS = SPOKEN["digits-en.wav"]["text"]
Run = Callable[[Server, str], Any]


@pytest.fixture
def node(run_node: Callable[[Path, Server, str], Any]) -> Run:
    return functools.partial(run_node, CLIENT)


def test_every_format_the_stream_and_the_translation(real: Server, node: Run) -> None:
    told = node(real, "answers")
    assert plain(told["json"]["text"]) == plain(WORDS)
    verbose = told["verbose_json"]
    assert (plain(verbose["text"]), verbose["language"]) == (plain(WORDS), "en")
    assert "".join(each["text"] for each in verbose["segments"]).split() == verbose["text"].split()
    assert plain(told["text"]) == plain(WORDS)
    assert re.match(r"1\n00:00:0\d,\d{3} --> ", told["srt"])
    assert re.match(r"WEBVTT\n\n00:", told["vtt"])
    stream = told["stream"]
    assert stream["types"].count("transcript.text.delta") == len(stream["deltas"]) > 3
    assert "".join(stream["deltas"]) == stream["text"] == told["whole"]["text"]
    assert plain(told["translation"]["text"]) == plain(SPOKEN["digits-de.wav"]["translation"])


def test_models(real: Server, node: Run) -> None:
    told = node(real, "models")
    assert {"auto", "whisper-small", "org/digits"} <= set(told["ids"])
    assert len(set(told["ids"])) == len(told["ids"])
    assert (told["plain"]["id"], told["plain"]["object"]) == ("whisper-small", "model")
    assert told["slashed"]["id"] == "org/digits"
    missing = told["missing"]
    assert (missing["is"], missing["code"]) == ("NotFoundError", "model_not_found")


def test_failures_as_a_user_sees_them(fake: Server, node: Run) -> None:
    failed = len(fake.log.find("http.access", path=PATH, status=500))
    told = node(fake, "failures")
    assert [
        (name, seen["is"], seen["status"], seen["code"], seen["body"]["kind"])
        for name, seen in told.items()
        if name not in ("in_stream", "warned")
    ] == [
        ("malformed", "BadRequestError", 400, "unsupported_audio", "malformed"),
        ("unknown_model", "BadRequestError", 400, "model_not_found", "malformed"),
        ("overflow", "APIError", 413, "out_of_memory", "overflow"),
        ("bug", "InternalServerError", 500, "internal_error", "unknown"),
        ("crash", "InternalServerError", 500, "engine_crashed", "unknown"),
    ]
    assert told["malformed"]["param"] == "file"
    assert told["malformed"]["request_id"]
    assert "The file could not be read as audio." in told["malformed"]["message"]
    assert "Not enough memory" in told["overflow"]["message"]
    fake.log.wait("http.access", count=failed + 2, path=PATH, status=500)
    assert len(fake.log.find("http.access", path=PATH, status=500)) == failed + 2, "sent once only"
    assert (told["in_stream"]["is"], told["in_stream"]["code"]) == ("APIError", "out_of_memory")
    assert "Not enough memory" in told["in_stream"]["message"]
    assert told["warned"]["types"] == [
        "warning",
        "transcript.text.delta",
        "transcript.text.done",
    ]
    assert "".join(told["warned"]["deltas"]) == told["warned"]["text"] == SAID


def test_a155_busy_once_and_cured_by_the_librarys_own_retries(fake: Server, node: Run) -> None:
    holder = fake.begin(script({"gate": "holder"}, *SAY))
    at_gate = fake.gates.entered("holder")
    busy = node(fake, "busy")
    before = len(fake.log.find("http.access", path=PATH, status=503))
    with ThreadPoolExecutor(1) as aside:
        asking = aside.submit(node, fake, "patient")
        fake.log.wait("http.access", count=before + 1, path=PATH, status=503)
        fake.gates.let_pass(at_gate)
        assert asking.result(2 * BOUND_S)["text"] == SAID
    assert holder.reply().text == SAID
    holder.close()
    assert len(fake.log.find("http.access", path=PATH, status=503)) == before + 1
    assert (busy["is"], busy["status"], busy["code"]) == ("InternalServerError", 503, "slot_busy")
    assert (busy["body"]["kind"], busy["body"]["holder"]["op"]) == ("network", "transcribe")
    assert busy["retry_after"] == "5"


def test_a153_an_aborted_stream_frees_the_slot(fake: Server, node: Run) -> None:
    cancelled = len(fake.log.find("job.done", outcome="cancelled"))
    assert node(fake, "abort")["delta"] == SAID
    fake.log.wait("job.done", count=cancelled + 1, outcome="cancelled")
    fake.gates.entered("abort").close()
