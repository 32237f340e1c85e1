"""A29 to A55 over HTTP: what /v1/models says, and what it does not do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.doubles.engines import EARS, FAMILIES, SPHINX
from tests.http.gateway.service import Gates, Service, running
from tests.support.listening import AUDIO

SAY = {"say": "one two", "end": 1}


@pytest.fixture(params=["whisper", "sphinx", "fakes"])
def service(request: pytest.FixtureRequest) -> Service:
    """Every service there is here."""
    each: Service = request.getfixturevalue(request.param)
    return each


def entries(service: Service) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = service.client.get("/v1/models").json["data"]
    return listed


def test_a29_the_list(service: Service) -> None:
    answer = service.client.get("/v1/models")
    assert answer.status == 200
    assert set(answer.json) == {"object", "data"}
    assert answer.json["object"] == "list"
    assert isinstance(answer.json["data"], list)
    assert answer.json["data"]


def test_a30_every_entry_has_an_id_and_an_owner(service: Service) -> None:
    for entry in entries(service):
        assert (type(entry["id"]), entry["object"], type(entry["owned_by"])) == (str, "model", str)
        assert type(entry["created"]) is int


def test_a31_every_entry_has_capabilities(service: Service) -> None:
    for entry in entries(service):
        assert entry["capabilities"]
        assert set(entry["capabilities"]) <= {"asr", "tts", "llm"}


def test_a32_every_entry_says_whether_it_streams(service: Service) -> None:
    assert all(type(entry["supports_streaming"]) is bool for entry in entries(service))


def test_a33_nothing_is_null(service: Service) -> None:
    assert b"null" not in service.client.get("/v1/models").body


def test_a34_the_alias_is_listed_once(service: Service) -> None:
    (alias,) = [entry for entry in entries(service) if entry["id"] == "auto"]
    assert (alias["owned_by"], alias["capabilities"]) == ("aistack", ["asr"])
    assert alias["is_routing_alias"] is True


def test_a35_no_alias_with_every_engine_switched_off(environment: Path) -> None:
    with running(environment / "off", engines={"disabled": EARS}) as service:
        answer = service.client.get("/v1/models")
        assert (answer.status, answer.json["data"]) == (200, [])
    with running(environment / "one-off", engines={"disabled": EARS[:-1]}) as service:
        assert set(service.listed()) == {"auto", "pocketsphinx-en-us"}


def test_a36_the_alias_has_no_languages(service: Service) -> None:
    assert "languages" not in service.listed()["auto"]


@pytest.mark.parametrize(
    ("names", "streams"),
    [(["whisper", "sensevoice"], True), (["whisper", "parakeet"], False), (["parakeet"], False)],
)
def test_a37_the_alias_streams_if_all_do(names: list[str], streams: bool, environment: Path) -> None:
    targets = {name: FAMILIES[name] for name in names}
    with running(environment / "-".join(names), targets) as service:
        assert service.listed()["auto"]["supports_streaming"] is streams
        assert len(service.listed()) == len(names) + 1


def test_a37_an_engine_that_is_not_installed_does_not_count(environment: Path) -> None:
    targets = {**FAMILIES, "parakeet": "tests.doubles.engines:NotInstalled"}
    with running(environment / "not-installed", targets) as service:
        assert set(service.listed()) == {"auto", "whisper-small", "iic/SenseVoiceSmall"}
        assert service.listed()["auto"]["supports_streaming"] is True


def test_a38_no_real_model_is_an_alias(service: Service) -> None:
    for model, entry in service.listed().items():
        assert entry["is_routing_alias"] is (model == "auto")


def test_a39_the_whisper_entry(whisper: Service, fakes: Service) -> None:
    for service in (whisper, fakes):
        entry = service.listed()["whisper-small"]
        assert (entry["owned_by"], entry["supports_streaming"]) == ("openai", True)
        assert entry["capabilities"] == ["asr"]


def test_a42_real_entries_have_languages(service: Service) -> None:
    real = [entry for model, entry in service.listed().items() if model != "auto"]
    assert real
    for entry in real:
        assert entry["languages"]
        assert all(re.fullmatch(r"[a-z]{2,3}", code) for code in entry["languages"])


def test_a45_whispers_languages(whisper: Service) -> None:
    languages = whisper.listed()["whisper-small"]["languages"]
    assert {"en", "zh", "ja", "ko", "es", "fr", "yue", "de"} <= set(languages)


def test_a53_listing_loads_nothing(environment: Path) -> None:
    with running(environment / "lazy") as service:
        before = psutil.Process().children(recursive=True)
        assert not any(entry.get("loaded") for entry in entries(service))
        assert service.client.get("/v1/models/whisper-small").json["loaded"] is False
        assert service.snapshot.slots[0].resident is None
        assert service.transitions == []
        assert psutil.Process().children(recursive=True) == before


def test_a54_the_list_never_takes_the_slot(fakes: Service, gates: Gates) -> None:
    call = fakes.begin({"gate": "a"}, SAY)
    let_pass = gates.entered()
    since = fakes.mark
    assert fakes.listed()["whisper-small"]["loaded"] is True
    assert fakes.mark == since, "no job came of it"
    let_pass()
    assert call.answer().status == 200


def test_a55_every_listed_id_works_verbatim(service: Service) -> None:
    """Every id whose weights are on disk; `auto` last, so that the usual engine is back."""
    here = service.call(service.inventory.facts()).on_disk
    listed = set(service.listed())
    assert listed >= here
    for model in (*sorted(listed & here), "auto"):
        answer = service.client.transcribe(AUDIO / "digits-en.wav", model=model)
        assert answer.status == 200
        assert answer.headers["x-aistack-model"] in here
        assert model in ("auto", answer.headers["x-aistack-model"])


def test_no_id_is_listed_twice(service: Service) -> None:
    """Not even where a built-in model has weights of its own configured."""
    ids = [entry["id"].lower() for entry in entries(service)]
    assert len(set(ids)) == len(ids)


def test_one_entry_by_its_id_slashes_escaped_or_not(fakes: Service) -> None:
    listed = fakes.listed()
    for model, entry in listed.items():
        for path in (model, model.replace("/", "%2F")):
            assert fakes.client.get(f"/v1/models/{path}").json == entry


def test_the_embedded_engine_is_listed_where_it_stands_alone(environment: Path) -> None:
    with running(environment / "embedded", SPHINX) as service:
        assert set(service.listed()) == {"auto", "pocketsphinx-en-us"}
