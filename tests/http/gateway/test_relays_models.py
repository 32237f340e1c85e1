"""A46 to A55 over HTTP: what other people's servers add to /v1/models."""

from __future__ import annotations

from typing import Any

import pytest

from tests.doubles.upstreams import CHAT, JSON, MODEL, SPEECH, TTS_ID, Upstreams, chat, speech
from tests.http.gateway.service import Service


def of(capability: str, service: Service) -> dict[str, dict[str, Any]]:
    """The entries of one capability by id."""
    return {
        model: entry for model, entry in service.listed().items() if capability in entry["capabilities"]
    }


def test_a46_theirs_have_no_languages(relays: Service) -> None:
    theirs = of("tts", relays) | of("llm", relays)
    assert set(theirs) == {TTS_ID, MODEL}
    assert not any("languages" in entry for entry in theirs.values())
    assert b"null" not in relays.client.get("/v1/models").body


def test_a47_the_voice_is_listed_while_it_is_healthy(relays: Service, upstreams: Upstreams) -> None:
    seen = []
    for healthy in (True, False, True):
        upstreams.omni.healthy = healthy
        seen.append(set(of("tts", relays)))
    assert seen == [{TTS_ID}, set(), {TTS_ID}]
    with upstreams.down(upstreams.omni):
        assert of("tts", relays) == {}


def test_a48_the_voices_entry(relays: Service) -> None:
    entry = of("tts", relays)[TTS_ID]
    assert (entry["owned_by"], entry["capabilities"]) == ("qwen", ["tts"])
    assert entry["is_routing_alias"] is False
    assert relays.client.get(f"/v1/models/{TTS_ID}").json == entry


def test_a49_the_chat_models_are_ollamas_tags(relays: Service, upstreams: Upstreams) -> None:
    upstreams.ollama.install("hf.co/some/one:Q4_K_M")
    upstreams.ollama.install("embedder", capabilities=["embedding"])
    upstreams.ollama.install("gpt-oss:120b-cloud", remote_host="https://elsewhere")
    listed = of("llm", relays)
    assert set(listed) == {MODEL, "hf.co/some/one:Q4_K_M"}
    for entry in listed.values():
        assert (entry["owned_by"], entry["capabilities"]) == ("ollama", ["llm"])
        assert entry["created"] == 1787299872, "modified_at"
    assert relays.client.get("/v1/models/hf.co%2Fsome%2Fone:Q4_K_M").status == 200


@pytest.mark.parametrize("how", ["garbage", "reset", "status", "[]", "rubbish"])
def test_a50_rubbish_is_no_entry(how: str, relays: Service, upstreams: Upstreams) -> None:
    for double, path in ((upstreams.ollama, "/api/tags"), (upstreams.omni, "/health")):
        if how in ("[]", "rubbish"):
            double.fail(path, "status", status=200 if path == "/api/tags" else 500, body=how)
        else:
            double.fail(path, how)
    assert set(relays.listed()) == {"auto", "whisper-small"}


def test_a50_a51_ollama_comes_and_goes(relays: Service, upstreams: Upstreams) -> None:
    with upstreams.down(upstreams.ollama):
        assert of("llm", relays) == {}
        assert set(of("tts", relays)) == {TTS_ID}
    assert set(of("llm", relays)) == {MODEL}, "without a restart"


def test_a52_two_that_hang_are_asked_side_by_side(relays: Service, upstreams: Upstreams) -> None:
    upstreams.omni.fail("/health", "hang")
    upstreams.ollama.fail("/api/tags", "hang")
    call = relays.client.begin("GET", "/v1/models")
    asked = upstreams.called(upstreams.omni, "/health"), upstreams.called(upstreams.ollama, "/api/tags")
    assert "cut" not in [each.ended for each in asked], "the first is not given up yet"
    answer = call.answer()
    assert answer.status == 200
    assert {entry["id"] for entry in answer.json["data"]} == {"auto", "whisper-small"}


def test_a53_looking_loads_nothing(relays: Service, upstreams: Upstreams) -> None:
    since = relays.mark
    assert relays.listed()[MODEL]
    assert upstreams.ollama.runners == {}
    assert {call.path for call in upstreams.ollama.calls} == {"/api/tags"}
    assert {call.path for call in upstreams.omni.calls} == {"/health"}
    assert relays.mark == since


def test_a55_each_id_works_where_it_is_meant(relays: Service) -> None:
    for capability, path, body in (("tts", SPEECH, speech), ("llm", CHAT, chat)):
        for model in of(capability, relays):
            assert relays.client.ask("POST", path, body(model=model), JSON).status == 200
