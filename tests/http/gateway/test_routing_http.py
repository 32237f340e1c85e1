"""A75 to A98 over HTTP: which engine a request reaches, by the name of the one that answered."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from aistack.weights.whisper import SIZES
from tests.doubles.engines import EARS, EUROPEAN, FAMILIES, SPHINX
from tests.http.gateway.client import TRANSLATIONS, Answer, acts
from tests.http.gateway.service import Gates, Loads, Service, running
from tests.support.listening import AUDIO, HELLO, HELLO_TEXT, SPOKEN, silence, wer, write_wav

SAY = {"say": "one two", "end": 1}
PARAKEET, SENSEVOICE = "nvidia/parakeet-tdt-0.6b-v3", "iic/SenseVoiceSmall"
DE = AUDIO / "digits-de.wav"
TRANSLATION = SPOKEN[DE.name]["translation"]


def served(answer: Answer) -> str:
    """The model that served it."""
    assert answer.status == 200, answer.text
    return answer.headers["x-aistack-model"]


@pytest.mark.parametrize("name", [{}, {"model": ""}, {"model": "auto"}, {"model": "AUTO"}])
def test_a75_absent_empty_and_auto_are_routed(name: dict[str, str], fakes: Service) -> None:
    assert served(fakes.play(SAY, **name)) == "whisper-small"
    assert served(fakes.play(SAY, language="ko", **name)) == SENSEVOICE


@pytest.mark.parametrize("size", SIZES)
def test_a76_a77_every_size_with_and_without_the_prefix(size: str, fakes: Service) -> None:
    assert served(fakes.play(SAY, model=f"whisper-{size}")) == f"whisper-{size}"
    assert served(fakes.play(SAY, model=size)) == f"whisper-{size}"


def test_a78_whisper_1_is_small(fakes: Service, whisper: Service) -> None:
    for service in (fakes, whisper):
        answer = service.client.transcribe(AUDIO / "digits-en.wav", model="whisper-1")
        assert served(answer) == "whisper-small"


def test_a79_parakeet_in_any_case(fakes: Service) -> None:
    for name in ("parakeet", "Parakeet", PARAKEET, PARAKEET.upper()):
        assert served(fakes.play(SAY, model=name)) == PARAKEET


def test_a80_sensevoice_in_any_case(fakes: Service) -> None:
    for name in ("sensevoice", "SENSEVOICE", SENSEVOICE, SENSEVOICE.lower()):
        assert served(fakes.play(SAY, model=name)) == SENSEVOICE


@pytest.mark.parametrize("name", ["tts-1", "gpt-5", "nobody/knows", "../../etc/passwd", "whispering"])
def test_a81_an_unknown_model(name: str, fakes: Service) -> None:
    answer = fakes.play(SAY, model=name)
    assert (answer.status, answer.error["kind"]) == (400, "malformed")
    assert answer.error["provider"] == "aistack"
    assert (answer.error["code"], answer.error["param"]) == ("model_not_found", "model")
    assert name in answer.error["message"]


def test_a82_a_size_that_there_is_not(fakes: Service, whisper: Service) -> None:
    for service in (fakes, whisper):
        answer = service.client.transcribe(acts(SAY), model="whisper-huge")
        assert (answer.status, answer.error["kind"]) == (400, "malformed")
        assert "whisper-huge" in answer.error["message"]


def test_a83_an_unknown_model_is_400_even_while_busy(fakes: Service, gates: Gates) -> None:
    call = fakes.begin({"gate": "a"}, SAY)
    let_pass = gates.entered()
    assert fakes.play(SAY, model="nobody").status == 400
    assert fakes.play(SAY).status == 503
    let_pass()
    assert call.answer().status == 200


def test_a84_a_named_model_without_its_library(environment: Path) -> None:
    targets = {**FAMILIES, "parakeet": "tests.doubles.engines:NotInstalled"}
    with running(environment / "without", targets) as service:
        answer = service.play(SAY, model="parakeet")
        assert (answer.status, answer.error["kind"]) == (503, "network")
        assert (answer.error["provider"], answer.error["code"]) == ("Parakeet", "backend_missing")
        assert f"{shlex.quote(sys.executable)} -m pip install no-such-library" in answer.error["message"]
        assert "retry-after" not in answer.headers
        assert served(service.play(SAY, language="de")) == "whisper-small"


def test_a85_weights_that_cannot_be_fetched(sphinx: Service) -> None:
    """The real engine, offline, with nothing on disk, for a model the caller named."""
    answer = sphinx.client.transcribe(HELLO, model="whisper-tiny")
    assert (answer.status, answer.error["kind"]) == (503, "network")
    assert (answer.error["provider"], answer.error["code"]) == ("Faster-Whisper", "model_load_failed")
    assert "retry-after" not in answer.headers
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("code", ["zh", "yue", "ja", "ko"])
def test_a88_asian_languages_go_to_sensevoice(code: str, fakes: Service) -> None:
    assert served(fakes.play(SAY, language=code)) == SENSEVOICE


@pytest.mark.parametrize("code", EUROPEAN)
def test_a89_european_languages_go_to_parakeet(code: str, fakes: Service) -> None:
    assert served(fakes.play(SAY, language=code)) == PARAKEET


@pytest.mark.parametrize("code", ["", "tr", "ar", "haw", "auto", "Klingon", "english"])
def test_a90_everything_else_goes_to_whisper_small(code: str, fakes: Service) -> None:
    assert served(fakes.play(SAY, language=code)) == "whisper-small"


@pytest.mark.parametrize(
    ("there", "code", "model"),
    [
        (["whisper", "sensevoice"], "de", "whisper-small"),
        (["whisper", "sensevoice"], "en", "whisper-small"),
        (["sensevoice", "parakeet"], "en", PARAKEET),
        (["sensevoice"], "en", SENSEVOICE),
        (["whisper", "parakeet"], "zh", "whisper-small"),
        (["parakeet", "sensevoice"], "tr", PARAKEET),
    ],
)
def test_a91_with_the_preferred_engine_missing(
    there: list[str], code: str, model: str, environment: Path
) -> None:
    with running(environment / "some", {name: FAMILIES[name] for name in there}) as service:
        assert served(service.play(SAY, language=code)) == model


def test_a91_offline_without_weights_the_embedded_engine_serves(sphinx: Service, tmp_path: Path) -> None:
    answer = sphinx.client.transcribe(HELLO)
    assert served(answer) == "pocketsphinx-en-us"
    assert wer(HELLO_TEXT, answer.json["text"]) <= 0.2
    quiet = write_wav(tmp_path / "quiet.wav", silence(0.2))
    assert served(sphinx.client.transcribe(quiet, language="en")) == "pocketsphinx-en-us"


def test_a91_the_embedded_engine_is_for_english_only(sphinx: Service) -> None:
    for fields in ({"language": "de"}, {"translate": "true"}):
        answer = sphinx.client.transcribe(HELLO, **fields)
        assert (answer.status, answer.error["kind"]) == (503, "network")


@pytest.mark.parametrize("only", [*FAMILIES, "sphinx"])
def test_a92_one_engine_of_any_kind_is_enough(only: str, environment: Path) -> None:
    target = {**FAMILIES, **SPHINX}[only]
    with running(environment / "only", {only: target}) as service:
        (model,) = set(service.listed()) - {"auto"}
        assert served(service.play(SAY)) == model
        assert served(service.play(SAY, language="en")) == model


@pytest.mark.parametrize("fields", [{}, {"language": "en"}, {"translate": "true"}])
def test_a93_with_every_engine_switched_off(fields: dict[str, str], environment: Path) -> None:
    engines = {"disabled": EARS}
    with running(environment / "none", engines=engines) as service:
        answer = service.client.transcribe(HELLO, **fields)
        assert (answer.status, answer.error["kind"]) == (503, "network")
        assert answer.error["code"] == "backend_missing"
        assert "retry-after" not in answer.headers


@pytest.mark.parametrize(
    ("code", "model"), [("ZH", SENSEVOICE), ("De", PARAKEET), ("zh-CN", SENSEVOICE), ("EN_us", PARAKEET)]
)
def test_a94_case_and_region_do_not_matter(code: str, model: str, fakes: Service) -> None:
    assert served(fakes.play(SAY, language=code)) == model


@pytest.mark.parametrize("how", [{"translate": "true"}, {"path": TRANSLATIONS}])
@pytest.mark.parametrize("model", ["whisper-small", "small", "whisper-1"])
def test_a95_whisper_translates(how: dict[str, Any], model: str, whisper: Service) -> None:
    answer = whisper.client.transcribe(DE, model=model, response_format="verbose_json", **how)
    assert (answer.status, answer.json["task"]) == (200, "translate")
    assert answer.json["text"].lower().strip() == TRANSLATION


@pytest.mark.parametrize("model", ["parakeet", "sensevoice"])
def test_a96_a97_others_do_not(model: str, environment: Path) -> None:
    """With cards that say so: the scripted ones may translate."""
    with running(environment / "no-translation", {}) as service:
        answer = service.play(SAY, model=model, translate="true")
        assert (answer.status, answer.error["kind"]) == (400, "malformed")
        assert answer.error["param"] == "translate"


@pytest.mark.parametrize("how", [{"translate": "true"}, {"path": TRANSLATIONS}])
def test_a98_auto_translates_with_whisper(how: dict[str, Any], whisper: Service, fakes: Service) -> None:
    answer = whisper.client.transcribe(DE, **how)
    assert (served(answer), answer.json["text"].lower().strip()) == ("whisper-small", TRANSLATION)
    for code in ("zh", "de", ""):
        assert served(fakes.play(SAY, language=code, **how)) == "whisper-small"


def test_the_model_that_serves_is_told_while_loads_are_scripted(fakes: Service, loads: Loads) -> None:
    loads(whisper_tiny=[{"fail": "network"}])
    answer = fakes.play(SAY, model="tiny")
    assert (answer.status, answer.error["code"]) == (503, "model_load_failed")
    loads.clear()
    assert served(fakes.play(SAY, model="tiny")) == "whisper-tiny"
