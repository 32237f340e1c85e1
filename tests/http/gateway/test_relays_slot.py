"""A143 to A146, A149, A150, A152 across capabilities, A181, A190, A191: one slot for three kinds."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.doubles.engines import FAMILIES
from tests.doubles.upstreams import (
    CHAT,
    JSON,
    KINDS,
    MODEL,
    SAY,
    SPEECH,
    TTS_ID,
    VOICES,
    Hold,
    Upstreams,
    ask,
    begin_chat,
    chat,
)
from tests.http.gateway.client import FORM
from tests.http.gateway.service import Gates, Loads, Service, running

NUMBERS = {
    ("transcription", "chat"): "a143",
    ("transcription", "speech"): "a144",
    ("chat", "transcription"): "a145",
    ("chat", "speech"): "a145",
    ("speech", "transcription"): "a146",
    ("speech", "chat"): "a146",
    ("chat", "chat"): "a147",
    ("speech", "speech"): "a147",
}
NAMES = {"transcription": "transcription", "chat": "chat", "speech": "speech synthesis"}
MODELS = {"transcription": "whisper-small", "chat": MODEL, "speech": TTS_ID}


def jobs_asked(upstreams: Upstreams) -> int:
    """Calls that make an upstream work."""
    return len([*upstreams.ollama.calls, *upstreams.omni.called(SPEECH)])


@pytest.mark.parametrize(
    ("holder", "second"), NUMBERS, ids=[f"{n}-{a}-{b}" for (a, b), n in NUMBERS.items()]
)
def test_a143_a144_a145_a146_a147_a149_who_comes_second_is_refused(
    holder: str, second: str, relays: Service, upstreams: Upstreams, hold: Hold
) -> None:
    busy = hold(holder)
    asked, since = jobs_asked(upstreams), relays.mark
    refused = ask(second, relays)
    assert (refused.status, refused.headers["retry-after"]) == (503, "5")
    error = refused.error
    assert (error["kind"], error["code"], error["provider"]) == ("network", "slot_busy", "aistack")
    assert jobs_asked(upstreams) == asked, "A149: the refused call never reaches the upstream"
    assert relays.path_of(since) == ["done"]
    held, not_started = NAMES[holder], NAMES[second]
    assert f"Busy: a {held} ({MODELS[holder]})" in error["message"], "A150: who holds it"
    assert f"This {not_started} was not started" in error["message"], "A150: what was refused"
    assert (error["holder"]["op"], error["holder"]["model"]) == (KINDS[holder], MODELS[holder])
    assert busy.end().status == 200
    assert ask(second, relays).status == 200, "A152"


@pytest.mark.parametrize("kind", ["chat", "speech"])
@pytest.mark.parametrize("how", ["status", "garbage", "reset", "cut"])
def test_a152_after_an_upstreams_failure_the_slot_is_free(
    kind: str, how: str, relays: Service, upstreams: Upstreams
) -> None:
    double, path = (upstreams.ollama, CHAT) if kind == "chat" else (upstreams.omni, SPEECH)
    double.fail(path, how)
    answer = ask(kind, relays)
    assert answer.status in (500, 503) or not answer.complete
    upstreams.renew()
    assert ask(kind, relays).status == 200, "at once"


@pytest.mark.parametrize("kind", ["chat", "speech"])
def test_waiting_in_line_for_another_capability(
    kind: str, relays: Service, upstreams: Upstreams, hold: Hold
) -> None:
    """Who asks to wait is served when the other ends."""
    busy = hold("transcription")
    since = relays.mark
    wait = {"Prefer": "wait=30", **JSON}
    body = chat() if kind == "chat" else b'{"input": "one"}'
    waiting = relays.client.begin("POST", CHAT if kind == "chat" else SPEECH, body, wait)
    relays.reached("waiting", since)
    assert busy.end().status == 200
    answer = waiting.answer()
    assert (answer.status, answer.headers["preference-applied"]) == (200, "wait=30")


@pytest.mark.parametrize("holder", KINDS)
def test_what_needs_no_card_takes_no_slot(
    holder: str, relays: Service, upstreams: Upstreams, hold: Hold
) -> None:
    """A54, A157, and voices: listed, uploaded and deleted beside whatever runs."""
    busy = hold(holder)
    since = relays.mark
    parts = {"name": b"mine", "audio_sample": b"RIFF"}
    body = b"".join(
        b'--xBOUNDx\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), value)
        for name, value in parts.items()
    )
    calls: list[tuple[str, str, Any, dict[str, str]]] = [
        ("GET", "/v1/models", None, {}),
        ("GET", "/health", None, {}),
        ("GET", VOICES, None, {}),
        ("HEAD", VOICES, None, {}),
        ("POST", VOICES, body + b"--xBOUNDx--\r\n", {"Content-Type": FORM}),
        ("DELETE", f"{VOICES}/mine", None, {}),
    ]
    answers = [relays.client.ask(*each) for each in calls]
    assert [answer.status for answer in answers] == [200] * len(calls)
    assert answers[3].body == b"", "HEAD answers like GET, without the body"
    assert answers[3].headers["content-type"] == answers[2].headers["content-type"]
    assert relays.mark == since, "no job"
    assert busy.end().status == 200


# --- the card, in turn --------------------------------------------------------------------------------


def loaded(service: Service) -> list[str]:
    return [model for model, entry in service.listed().items() if entry.get("loaded")]


def test_a181_our_model_is_gone_before_a_chat_is_forwarded(
    relays: Service, upstreams: Upstreams, hold: Hold
) -> None:
    assert ask("transcription", relays).status == 200
    assert loaded(relays) == ["whisper-small"]
    since = relays.mark
    busy = hold("chat")
    assert loaded(relays) == []
    assert relays.snapshot.slots[0].resident is None
    assert relays.path_of(since) == ["preparing", "running"]
    assert busy.end().status == 200
    assert loaded(relays) == [], "nor is it loaded again for nothing"


def test_a182_the_voice_detector_ends_with_its_engines_process(
    environment: Path, upstreams: Upstreams, gates: Gates
) -> None:
    """Nothing of SenseVoice outlives its process, which is gone before a chat is forwarded."""
    before = engines()
    with running(
        environment / "detector",
        {"sensevoice": FAMILIES["sensevoice"]},
        relays=True,
        ollama={"url": upstreams.ollama.url},
    ) as service:
        call = service.begin({"gate": "a"}, SAY, model="iic/SenseVoiceSmall")
        let_pass = gates.entered()
        (engine,) = engines() - before
        let_pass()
        assert call.answer().status == 200
        upstreams.shut(upstreams.ollama)
        chatting = begin_chat(service.client)
        upstreams.called(upstreams.ollama, CHAT)
        assert not engine.is_running()
        assert engines() == before
        upstreams.open(upstreams.ollama)
        assert chatting.answer().status == 200


def engines() -> set[psutil.Process]:
    """The engine processes of all services in this process."""
    return {each for each in psutil.Process().children() if "aistack.run.child" in each.cmdline()}


def test_a190_ollamas_model_is_gone_before_ours_is_loaded(
    relays: Service, upstreams: Upstreams, gates: Gates, loads: Loads
) -> None:
    assert ask("chat", relays).status == 200
    assert set(upstreams.ollama.runners) == {MODEL}
    loads(whisper_small=[{"gate": "load"}])
    call = relays.begin(SAY)
    let_pass = gates.entered("load")
    assert upstreams.ollama.runners == {}
    let_pass()
    answer = call.answer()
    assert (answer.status, answer.json) == (200, {"text": "one two"})
    assert loaded(relays) == ["whisper-small"]


def test_a190_an_ollama_that_is_gone_holds_nothing(relays: Service, upstreams: Upstreams) -> None:
    assert ask("chat", relays).status == 200
    with upstreams.down(upstreams.ollama):
        assert ask("transcription", relays).status == 200


def test_a191_a_refused_chat_evicts_nothing(relays: Service, upstreams: Upstreams, hold: Hold) -> None:
    busy = hold("transcription")
    assert begin_chat(relays.client).answer().status == 503
    assert busy.end().status == 200
    assert loaded(relays) == ["whisper-small"]
    since = relays.mark
    assert ask("transcription", relays).status == 200
    assert relays.path_of(since) == ["running", "done"], "it had not to be loaded again"


def test_speech_leaves_our_model_where_it_is(relays: Service, upstreams: Upstreams) -> None:
    """The container holds a share of its own (RESERVED)."""
    assert ask("transcription", relays).status == 200
    assert ask("speech", relays).status == 200
    assert loaded(relays) == ["whisper-small"]


def test_every_order_of_the_three(relays: Service, upstreams: Upstreams) -> None:
    for order in permutations(KINDS):
        assert [ask(kind, relays).status for kind in order] == [200, 200, 200]
