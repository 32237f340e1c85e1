"""A40 to A44, A88, A89, A96, A97 over HTTP: what the real engines offer, and who gets which request."""

from __future__ import annotations

from typing import Any

import pytest

from aistack.engines.whisper import LANGUAGES as WHISPERS
from tests.doubles.engines import EUROPEAN
from tests.http.engines.conftest import PARAKEET_ID, SENSEVOICE_ID
from tests.http.engines.sounds import EN
from tests.http.gateway.client import TRANSLATIONS, Answer
from tests.http.gateway.service import Service


def served(answer: Answer) -> str:
    assert answer.status == 200, answer.text
    return answer.headers["x-aistack-model"]


def test_a40_parakeets_entry(parakeet: Service) -> None:
    entry = parakeet.listed()[PARAKEET_ID]
    assert (entry["owned_by"], entry["supports_streaming"]) == ("nvidia", False)
    assert (entry["capabilities"], entry["translate"]) == (["asr"], False)


def test_a41_sensevoices_entry(sensevoice: Service) -> None:
    entry = sensevoice.listed()[SENSEVOICE_ID]
    assert (entry["owned_by"], entry["supports_streaming"]) == ("alibaba", True)
    assert (entry["capabilities"], entry["translate"]) == (["asr"], False)


def test_a42_every_real_entry_has_languages(parakeet: Service) -> None:
    real = [entry for entry in parakeet.listed().values() if not entry["is_routing_alias"]]
    assert {"whisper-small", PARAKEET_ID, SENSEVOICE_ID} <= {entry["id"] for entry in real}
    for entry in real:
        assert entry["languages"]
        assert all(code.isascii() and code.islower() for code in entry["languages"])
        assert {len(code) for code in entry["languages"]} <= {2, 3}


def test_a43_parakeets_twenty_five(parakeet: Service) -> None:
    languages = parakeet.listed()[PARAKEET_ID]["languages"]
    assert len(languages) == 25
    assert set(languages) == set(EUROPEAN)
    assert "en" in languages


def test_a44_sensevoices_five(sensevoice: Service) -> None:
    assert sorted(sensevoice.listed()[SENSEVOICE_ID]["languages"]) == ["en", "ja", "ko", "yue", "zh"]


def test_the_alias_streams_only_if_all_do(parakeet: Service) -> None:
    assert parakeet.listed()["auto"]["supports_streaming"] is False


def test_only_the_model_in_the_slot_is_loaded(parakeet: Service, sensevoice: Service) -> None:
    for service, model in ((parakeet, PARAKEET_ID), (sensevoice, SENSEVOICE_ID)):
        service.client.transcribe(EN, model=model)
        assert [each for each, entry in service.listed().items() if entry.get("loaded")] == [model]


@pytest.mark.parametrize("code", ["zh", "yue", "ja", "ko", "zh-TW"])
def test_a88_asian_languages_go_to_sensevoice(code: str, sensevoice: Service) -> None:
    answer = sensevoice.client.transcribe(EN, language=code, response_format="verbose_json")
    assert served(answer) == SENSEVOICE_ID
    assert answer.json["text"]


@pytest.mark.parametrize("code", EUROPEAN)
def test_a89_european_languages_go_to_parakeet(code: str, parakeet: Service) -> None:
    answer = parakeet.client.transcribe(EN, language=code, response_format="verbose_json")
    assert (served(answer), answer.json["language"]) == (PARAKEET_ID, code)
    assert answer.json["text"]


def test_a90_everything_else_would_go_to_whisper(parakeet: Service) -> None:
    """Seen in the inventory's answer alone: nothing is evicted for it."""
    for hint in (None, "tr", "ar"):
        assert hint is None or hint in WHISPERS
        chosen = parakeet.call(parakeet.inventory.route("auto", hint, False))
        assert chosen.model_id == "whisper-small"


@pytest.mark.parametrize("how", [{"translate": "true"}, {"path": TRANSLATIONS}])
def test_a96_parakeet_does_not_translate(how: dict[str, Any], parakeet: Service) -> None:
    refused(parakeet.client.transcribe(EN, model="parakeet", **how), "Parakeet")


@pytest.mark.parametrize("how", [{"translate": "true"}, {"path": TRANSLATIONS}])
def test_a97_sensevoice_does_not_translate(how: dict[str, Any], sensevoice: Service) -> None:
    refused(sensevoice.client.transcribe(EN, model="sensevoice", **how), "SenseVoice")


def refused(answer: Answer, provider: str) -> None:
    assert (answer.status, answer.error["kind"]) == (400, "malformed")
    assert (answer.error["provider"], answer.error["param"]) == (provider, "translate")
