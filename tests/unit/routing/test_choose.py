"""Who serves a request, as a table: facts made by hand, one line per case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from aistack.chunks import Vram
from aistack.config import DEFAULT_ALIASES
from aistack.engines.base import AutoRules, EngineInfo, OfferedModel, OperatorModels
from aistack.engines.parakeet import Parakeet
from aistack.engines.sensevoice import SenseVoice
from aistack.engines.sphinx import Sphinx
from aistack.engines.whisper import Whisper
from aistack.errors import GATEWAY, BackendFault, Code, Fault, fault_headers
from aistack.routing.choose import choose_model, depends_on_hub, hint_of
from aistack.routing.facts import Chosen, EngineFacts, Facts
from aistack.weights.whisper import SIZES

SMALL = "whisper-small"
PARAKEET = "nvidia/parakeet-tdt-0.6b-v3"
SENSEVOICE = "iic/SenseVoiceSmall"
SPHINX = "pocketsphinx-en-us"

EUROPEAN = "en bg hr cs da nl et fi fr de el hu it lv lt mt pl pt ro sk sl es sv ru uk".split()  # noqa: SIM905
ASIAN = ("zh", "yue", "ja", "ko")

REAL: Mapping[str, EngineInfo] = {
    "whisper": Whisper(),
    "parakeet": Parakeet(),
    "sensevoice": SenseVoice(),
    "sphinx": Sphinx(),
}
ENGINES: dict[str, EngineFacts] = {
    name: EngineFacts(
        True,
        engine.provider,
        engine.install,
        engine.models(),
        engine.auto,
        engine.family,
        engine.operator_models is OperatorModels.LOCAL,
    )
    for name, engine in REAL.items()
}
MODEL = {"whisper": SMALL, "parakeet": PARAKEET, "sensevoice": SENSEVOICE, "sphinx": SPHINX}
ALL = tuple(ENGINES)


def facts(
    *engines: str,
    missing: tuple[str, ...] = (),
    on_disk: tuple[str, ...] | None = None,
    **others: Any,
) -> Facts:
    """Facts in which `engines` are installed and `missing` are not; the rest of ours are not offered.

    The weights of `engines` are on the disk unless `on_disk` names others.
    """
    absent = {name: evolve(of, installed=False) for name, of in ENGINES.items() if name not in engines}
    offered = {name: of for name, of in (ENGINES | absent).items() if name in (*engines, *missing)}
    left_out = {name: of for name, of in absent.items() if name not in offered}
    here = tuple(MODEL[name] for name in engines) if on_disk is None else on_disk
    return Facts(offered, frozenset(here), aliases=DEFAULT_ALIASES, others=left_out, **others)


EVERYTHING = facts(*ALL)


def chosen(
    name: str | None, language: str | None = None, translate: bool = False, of: Facts = EVERYTHING
) -> Chosen:
    return choose_model(name, language, translate, of)


def model(*args: Any, **options: Any) -> str:
    return chosen(*args, **options).model_id


def refused(*args: Any, **options: Any) -> Fault:
    with pytest.raises(BackendFault) as caught:
        chosen(*args, **options)
    return caught.value.fault


# --- names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [None, "", "  ", "auto", "AUTO", " Auto "])
def test_a75_absent_empty_and_auto_are_routed(name: str | None) -> None:
    assert model(name) == SMALL
    assert model(name, "de") == PARAKEET


@pytest.mark.parametrize("size", SIZES)
def test_a76_every_size_with_the_prefix(size: str) -> None:
    assert chosen(f"whisper-{size}").route == chosen(f" Whisper-{size.upper()} ").route
    assert model(f"whisper-{size}") == f"whisper-{size}"


@pytest.mark.parametrize("size", SIZES)
def test_a77_bare_sizes(size: str) -> None:
    route = chosen(size).route
    assert (route.backend, route.model, route.vram, route.device) == (
        "whisper",
        f"whisper-{size}",
        Vram.OWN,
        None,
    )


def test_there_are_thirteen_sizes() -> None:
    assert len(SIZES) == len(set(SIZES)) == 13


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("large", "whisper-large-v3"),
        ("whisper-large", "whisper-large-v3"),
        ("turbo", "whisper-large-v3-turbo"),
        ("Whisper-Turbo", "whisper-large-v3-turbo"),
    ],
)
def test_short_names(name: str, expected: str) -> None:
    assert model(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("whisper-1", SMALL),
        ("Whisper-1", SMALL),
        ("gpt-4o-transcribe", PARAKEET),
        ("gpt-4o-mini-transcribe", PARAKEET),
        ("gpt-transcribe", PARAKEET),
    ],
)
def test_a78_aliases_of_openai(name: str, expected: str) -> None:
    assert model(name, "de") == expected


@pytest.mark.parametrize("name", ["parakeet", "PARAKEET", PARAKEET, PARAKEET.upper(), "my-Parakeet-v9"])
def test_a79_parakeet(name: str) -> None:
    got = chosen(name)
    assert (got.route.backend, got.model_id, got.streams) == ("parakeet", PARAKEET, False)


@pytest.mark.parametrize(
    "name", ["sensevoice", "SenseVoice", SENSEVOICE, SENSEVOICE.lower(), "x-sensevoice"]
)
def test_a80_sensevoice(name: str) -> None:
    got = chosen(name)
    assert (got.route.backend, got.model_id, got.streams) == ("sensevoice", SENSEVOICE, True)


@pytest.mark.parametrize("name", [SPHINX, SPHINX.upper()])
def test_the_embedded_engine_by_its_id(name: str) -> None:
    assert chosen(name).route.backend == "sphinx"


@pytest.mark.parametrize(
    "name",
    [
        "nope",
        "whisper",
        "whisper-",
        "distil-small.en",
        "qwen3:4b",
        "tts-1",
        "Systran/faster-whisper-small",
    ],
)
def test_a81_unknown_names(name: str) -> None:
    fault = refused(name)
    assert (fault.status, fault.code, fault.provider) == (400, Code.MODEL_NOT_FOUND, GATEWAY)
    assert fault.param == "model"
    assert f"'{name}'" in fault.message


def test_a81_the_message_names_the_accepted_forms() -> None:
    message = refused("nope").message
    for word in ("auto", "parakeet", "sensevoice", "/v1/models", "large-v3-turbo"):
        assert word in message


def test_a82_a_bad_size_lists_the_sizes() -> None:
    fault = refused("whisper-huge")
    assert fault.code is Code.MODEL_NOT_FOUND
    assert "'whisper-huge'" in fault.message and ", ".join(sorted(SIZES)) in fault.message


def test_an_endless_name_is_cut() -> None:
    assert len(refused("x" * 10_000).message) < 600


def test_local_directories_by_their_id() -> None:
    of = facts(*ALL, local={"Our-Whisper": "weights/ours", "tiny": "weights/tiny"})
    assert chosen("Our-Whisper", of=of).route.backend == "whisper"
    assert model("our-whisper", of=of) == "Our-Whisper"
    assert model("tiny", of=of) == "tiny", "what is configured wins over what is built in"
    assert model("whisper-tiny", of=of) == "whisper-tiny"


def test_listed_ids_of_engines_nobody_here_has_heard_of() -> None:
    fake = EngineFacts(
        True,
        "Fake",
        "-",
        (OfferedModel("fake-whole", "x", "asr", ("en",), False), OfferedModel("llm", "x", "llm")),
    )
    of = evolve(EVERYTHING, engines={**ENGINES, "fake": fake})
    got = chosen("FAKE-whole", of=of)
    assert (got.route.backend, got.model_id, got.streams) == ("fake", "fake-whole", False)
    assert refused("llm", of=of).code is Code.MODEL_NOT_FOUND


# --- aliases -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("aliases", "name", "expected"),
    [
        ({"auto": "whisper-tiny"}, None, "whisper-tiny"),
        ({"auto": "whisper-tiny", "whisper-1": "auto"}, "whisper-1", "whisper-tiny"),
        ({"Fast": "tiny"}, "fast", "whisper-tiny"),
        ({"small": "tiny", "tiny": "small"}, "small", SMALL),
        ({"auto": "auto"}, "auto", SMALL),
        ({"whisper-1": ""}, "whisper-1", SMALL),
    ],
)
def test_aliases_come_first_and_never_go_in_circles(
    aliases: Mapping[str, str], name: str | None, expected: str
) -> None:
    assert model(name, of=evolve(EVERYTHING, aliases=aliases)) == expected


def test_an_alias_of_nothing_names_what_is_missing() -> None:
    fault = refused("mine", of=evolve(EVERYTHING, aliases={"mine": "gone"}))
    assert fault.code is Code.MODEL_NOT_FOUND and "'gone'" in fault.message


# --- hints -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "hint"),
    [
        (None, None),
        ("", None),
        ("auto", None),
        ("english", None),
        ("xx", None),
        ("-", None),
        ("en", "en"),
        ("EN", "en"),
        (" en-US ", "en"),
        ("en_GB", "en"),
        ("zh-Hant-TW", "zh"),
        ("YUE", "yue"),
        ("haw", "haw"),
    ],
)
def test_hints_are_their_primary_subtag(language: str | None, hint: str | None) -> None:
    assert hint_of(language, EVERYTHING) == hint
    assert chosen("whisper-small", language).hint == hint


def test_whisper_knows_a_hundred_languages_and_parakeet_twenty_five() -> None:
    assert len(ENGINES["whisper"].default.languages) == 100
    assert sorted(ENGINES["parakeet"].auto.first_for) == sorted(EUROPEAN)


# --- auto --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ASIAN)
def test_a88_asian_languages_go_to_sensevoice(language: str) -> None:
    assert model("auto", language) == SENSEVOICE


@pytest.mark.parametrize("language", EUROPEAN)
def test_a89_european_languages_go_to_parakeet(language: str) -> None:
    assert model("auto", language) == PARAKEET


@pytest.mark.parametrize("language", [None, "", "auto", "ar", "th", "english", "xx", "tr", "ca"])
def test_a90_everything_else_goes_to_whisper_small(language: str | None) -> None:
    assert model("auto", language) == SMALL


@pytest.mark.parametrize("language", ["ZH", "Zh-cn", "DE", "de-AT"])
def test_a94_case_and_region_do_not_matter(language: str) -> None:
    assert model("auto", language) == model("auto", language[:2].lower())


@pytest.mark.parametrize(
    ("here", "language", "expected"),
    [
        # the preferred is missing: the next that covers the language
        (("whisper", "parakeet", "sphinx"), "zh", SMALL),
        (("whisper", "sensevoice", "sphinx"), "de", SMALL),
        (("parakeet", "sensevoice", "sphinx"), "ja", SENSEVOICE),
        (("sensevoice", "sphinx"), "en", SENSEVOICE),
        # nobody covers it: anyone multilingual
        (("parakeet", "sensevoice"), "ar", PARAKEET),
        (("sensevoice",), "de", SENSEVOICE),
        (("parakeet",), "zh", PARAKEET),
        (("parakeet", "sensevoice"), None, PARAKEET),
        (("sensevoice", "sphinx"), None, SENSEVOICE),
        # the embedded engine: English or no hint, nothing better
        (("sphinx",), None, SPHINX),
        (("sphinx",), "en", SPHINX),
        (("sphinx",), "en-GB", SPHINX),
        (("sphinx",), "klingon", SPHINX),
        (("parakeet", "sphinx"), None, PARAKEET),
    ],
)
def test_a91_falls_back(here: tuple[str, ...], language: str | None, expected: str) -> None:
    absent = tuple(name for name in ALL if name not in here)
    assert model("auto", language, of=facts(*here)) == expected
    assert model("auto", language, of=facts(*here, missing=absent)) == expected


@pytest.mark.parametrize("only", ALL)
def test_a92_one_engine_of_any_kind_is_enough(only: str) -> None:
    assert model("auto", None, of=facts(only)) == MODEL[only]


def test_a92_even_one_nobody_has_heard_of() -> None:
    card = OfferedModel("norsk-1", "x", "asr", ("no",))
    norsk = EngineFacts(True, "Norsk", "-", (card,))
    of = Facts({"norsk": norsk}, frozenset({"norsk-1"}), others=ENGINES)
    assert model("auto", None, of=of) == model("auto", "no", of=of) == "norsk-1"
    assert refused("auto", "en", of=of).code is Code.BACKEND_MISSING


@pytest.mark.parametrize("language", [None, "en"])
def test_the_embedded_engine_is_last_even_behind_strangers(language: str | None) -> None:
    stranger = EngineFacts(True, "Stranger", "-", (OfferedModel("stranger-1", "x", "asr", ("en",)),))
    of = Facts({"sphinx": ENGINES["sphinx"], "stranger": stranger}, frozenset({SPHINX, "stranger-1"}))
    assert model("auto", language, of=of) == "stranger-1"


@pytest.mark.parametrize("translate", [False, True])
@pytest.mark.parametrize("language", [None, "en", "zh"])
@pytest.mark.parametrize(
    "of", [facts(), facts(missing=ALL), Facts(disabled=frozenset(ALL), others=ENGINES)]
)
def test_a93_nobody_at_all(of: Facts, language: str | None, translate: bool) -> None:
    fault = refused("auto", language, translate, of=of)
    assert (fault.status, fault.code, fault.provider) == (503, Code.BACKEND_MISSING, GATEWAY)
    help_ = Whisper().install if of.engines else "aistack doctor"
    assert ("switched off" if of.disabled else help_) in fault.message
    assert dict(fault_headers(fault)) == {"x-should-retry": "false"}


@pytest.mark.parametrize("language", ["de", "zh", "ar"])
def test_the_embedded_engine_does_not_pretend_to_know_other_languages(language: str) -> None:
    fault = refused("auto", language, of=facts("sphinx"))
    assert fault.code is Code.BACKEND_MISSING and f"'{language}'" in fault.message


# --- engines of other packages -----------------------------------------------------------------------


def stranger(languages: tuple[str, ...], auto: AutoRules = AutoRules(), **how: Any) -> EngineFacts:  # noqa: B008
    card = OfferedModel("stranger-1", "x", "asr", languages)
    return EngineFacts(True, "Stranger", "pip install stranger", (card,), auto, **how)


def beside_ours(of: EngineFacts, *on_disk: str) -> Facts:
    here = frozenset((*MODEL.values(), *on_disk))
    return Facts({**ENGINES, "stranger": of}, here, aliases=DEFAULT_ALIASES)


@pytest.mark.parametrize("language", ["de", "zh", "ar", "no", None])
def test_a_stranger_comes_after_ours(language: str | None) -> None:
    of = beside_ours(stranger(("de", "zh", "ar", "no")), "stranger-1")
    assert model("auto", language, of=of) == model("auto", language)


@pytest.mark.parametrize("language", ["gsw", "GSW-CH"])
def test_a_language_that_only_a_stranger_knows_is_a_hint(language: str) -> None:
    of = beside_ours(stranger(("gsw", "de")), "stranger-1")
    got = chosen("auto", language, of=of)
    assert (got.model_id, got.hint) == ("stranger-1", "gsw")
    assert hint_of(language, EVERYTHING) is None


def test_a_stranger_may_go_first_where_none_of_ours_does() -> None:
    first = AutoRules(first_for=("no", "de"))
    of = beside_ours(stranger(("no", "de"), first), "stranger-1")
    assert model("auto", "no", of=of) == "stranger-1"
    assert model("auto", "de", of=of) == PARAKEET, "among equals ours come first"


def test_weights_that_a_stranger_cannot_fetch_are_missing_whatever_the_hub_says() -> None:
    lacking = stranger(("gsw",), fetches=False)
    of = evolve(beside_ours(lacking), fetchable=True)
    assert model("auto", "gsw", of=of) != "stranger-1"
    assert model("auto", "gsw", of=beside_ours(lacking, "stranger-1")) == "stranger-1"
    alone = Facts({"stranger": lacking}, fetchable=True)
    fault = refused("auto", "gsw", of=alone)
    assert (fault.status, fault.code) == (503, Code.MODEL_LOAD_FAILED)
    assert "stranger-1" in fault.message and "cannot download" in fault.message
    assert not depends_on_hub("auto", "gsw", False, alone)


def test_a_strangers_family_and_other_names() -> None:
    card = OfferedModel("stranger-1", "x", "asr", ("en",), names=("odd",))
    hidden = OfferedModel("stranger-2", "x", "asr", ("en",), listed=False, source="two")
    of = beside_ours(EngineFacts(True, "Stranger", "-", (card, hidden), family="strange"))
    assert model("Odd", of=of) == "stranger-1"
    assert model("very-Strange", of=of) == "stranger-1"
    assert model("STRANGER-2", of=of) == "stranger-2"
    assert "strange" in refused("nope", of=of).message


# --- weights -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("here", "on_disk", "fetchable", "language", "expected"),
    [
        (("whisper", "sphinx"), (SPHINX,), True, None, SMALL),
        (("whisper", "sphinx"), (SPHINX,), False, None, SPHINX),
        (("whisper", "sphinx"), (SPHINX, SMALL), False, None, SMALL),
        (ALL, (SMALL, SPHINX), False, "de", SMALL),
        (ALL, (SMALL, SPHINX), True, "de", PARAKEET),
        (ALL, (SMALL, SPHINX), False, "zh", SMALL),
        (ALL, (PARAKEET, SPHINX), False, "zh", PARAKEET),
        (ALL, (SENSEVOICE, SPHINX), False, None, SENSEVOICE),
        # another size on the disk is better than the embedded engine, the best of them first
        (("whisper", "sphinx"), (SPHINX, "whisper-tiny", "whisper-base"), False, "en", "whisper-base"),
        (("whisper",), ("whisper-tiny", "whisper-medium"), False, "ja", "whisper-medium"),
        (("whisper", "sphinx"), (SPHINX, "whisper-tiny"), True, None, SMALL),
        # an English-only size is nobody's stand-in
        (("whisper", "sphinx"), (SPHINX, "whisper-base.en"), False, "en", SPHINX),
    ],
)
def test_weights_that_cannot_be_had_make_an_engine_missing_for_auto(
    here: tuple[str, ...],
    on_disk: tuple[str, ...],
    fetchable: bool,
    language: str | None,
    expected: str,
) -> None:
    of = facts(*here, on_disk=on_disk, fetchable=fetchable)
    assert model("auto", language, of=of) == expected


def test_a_local_directory_serves_auto_when_no_other_whisper_can() -> None:
    of = facts("whisper", "sphinx", on_disk=(SPHINX, "ours"), local={"gone": "a", "ours": "b"})
    assert model("auto", "de", of=of) == "ours"
    assert model("auto", None, of=evolve(of, on_disk=of.on_disk | {SMALL})) == SMALL


@pytest.mark.parametrize(("language", "translate"), [(None, False), ("de", False), ("en", True)])
def test_installed_but_no_weights_anywhere(language: str | None, translate: bool) -> None:
    fault = refused("auto", language, translate, of=facts("whisper", on_disk=()))
    assert (fault.status, fault.code) == (503, Code.MODEL_LOAD_FAILED)
    assert SMALL in fault.message and "/" not in fault.message


def test_a85_a_named_size_goes_to_the_engine_even_without_weights() -> None:
    of = facts("whisper", on_disk=())
    assert model("whisper-medium", of=of) == "whisper-medium"
    assert model("parakeet", of=facts("parakeet", on_disk=())) == PARAKEET


# --- missing libraries -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "provider", "install"),
    [
        ("whisper-small", "Faster-Whisper", "pip install 'faster-whisper"),
        ("tiny", "Faster-Whisper", "pip install 'faster-whisper"),
        ("ours", "Faster-Whisper", "pip install 'faster-whisper"),
        ("parakeet", "Parakeet", "pip install"),
        ("sensevoice", "SenseVoice", "pip install"),
        (SPHINX, "PocketSphinx", "pip install 'pocketsphinx"),
    ],
)
@pytest.mark.parametrize("absent", [(), ALL])
def test_a84_a_named_model_without_its_library(
    name: str, provider: str, install: str, absent: tuple[str, ...]
) -> None:
    fault = refused(name, of=facts(missing=absent, local={"ours": "dir"}, fetchable=True))
    assert (fault.status, fault.code, fault.provider) == (503, Code.BACKEND_MISSING, provider)
    assert (install if absent else "aistack doctor") in fault.message
    assert dict(fault_headers(fault)) == {"x-should-retry": "false"}


def test_a_named_model_that_is_switched_off() -> None:
    fault = refused("parakeet", of=evolve(facts("whisper"), disabled=frozenset({"parakeet"})))
    assert (fault.status, fault.provider) == (503, "Parakeet")
    assert "switched off" in fault.message and "pip" not in fault.message


# --- translate ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", [None, "en", "de", "zh", "ar"])
def test_a98_auto_translates_with_whisper(language: str | None) -> None:
    assert model("auto", language, True) == SMALL


@pytest.mark.parametrize("name", ["whisper-1", "large-v3", "whisper-tiny.en"])
def test_a95_named_whispers_translate(name: str) -> None:
    assert chosen(name, "de", True).route.backend == "whisper"


@pytest.mark.parametrize(
    ("name", "provider"),
    [("parakeet", "Parakeet"), ("sensevoice", "SenseVoice"), (SPHINX, "PocketSphinx")],
)
@pytest.mark.parametrize("of", [EVERYTHING, facts(), facts(missing=ALL)])
def test_a96_a97_others_do_not(name: str, provider: str, of: Facts) -> None:
    fault = refused(name, "en", True, of=of)
    assert (fault.status, fault.code, fault.provider) == (400, Code.INVALID_FIELD, provider)
    assert fault.param == "translate"


@pytest.mark.parametrize("here", [("parakeet", "sensevoice", "sphinx"), ("sphinx",)])
def test_auto_never_translates_with_anyone_else(here: tuple[str, ...]) -> None:
    fault = refused("auto", "en", True, of=facts(*here))
    assert (fault.status, fault.code) == (503, Code.BACKEND_MISSING)
    assert "translates" in fault.message


def test_a_size_that_was_never_taught_to_translate_is_no_stand_in_for_it() -> None:
    of = facts("whisper", on_disk=("whisper-large-v3-turbo", "whisper-tiny"))
    assert model("auto", "de", False, of=of) == "whisper-large-v3-turbo"
    assert model("auto", "de", True, of=of) == "whisper-tiny"


# --- the hub -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "language", "of", "depends"),
    [
        ("auto", None, EVERYTHING, False),
        ("auto", "de", facts("whisper", missing=("parakeet",)), False),
        ("auto", None, facts("whisper", "sphinx", on_disk=(SPHINX,)), True),
        ("auto", None, facts("whisper", on_disk=()), True),
        ("auto", "zh", facts("whisper", "sensevoice", on_disk=(SMALL,)), True),
        ("auto", "de", facts("whisper", "sensevoice", on_disk=(SMALL,)), False),
        ("auto", None, facts("sphinx"), False),
        ("auto", None, facts(), False),
        ("whisper-medium", None, facts("whisper", on_disk=()), False),
        ("nope", None, facts("whisper", on_disk=()), False),
    ],
)
def test_the_hub_is_asked_only_when_it_matters(
    name: str, language: str | None, of: Facts, depends: bool
) -> None:
    assert depends_on_hub(name, language, False, of) is depends


# --- every world -------------------------------------------------------------------------------------

ids = st.sampled_from([*MODEL.values(), *(f"whisper-{size}" for size in SIZES), "ours"])
worlds = st.builds(
    lambda here, absent, disk, hub: evolve(
        facts(*here, missing=tuple(absent - here), local={"ours": "dir"}),
        on_disk=frozenset(disk),
        fetchable=hub,
    ),
    st.sets(st.sampled_from(ALL)),
    st.sets(st.sampled_from(ALL)),
    st.sets(ids),
    st.booleans(),
)


@given(
    st.sampled_from([None, "auto", "whisper-1", "tiny", "parakeet", SENSEVOICE, SPHINX, "ours", "nope"]),
    st.sampled_from([None, "en", "de", "zh", "ar", "english"]),
    st.booleans(),
    worlds,
)
def test_in_every_world_the_answer_is_right_or_a_fault(
    name: str | None, language: str | None, translate: bool, of: Facts
) -> None:
    try:
        got = choose_model(name, language, translate, of)
    except BackendFault as refusal:
        assert refusal.fault.status in (400, 503)
        if name in (None, "auto"):
            assert refusal.fault.status == 503
        return
    engine = of.engines[got.route.backend]
    assert engine.installed
    assert not translate or got.route.backend == "whisper"
    if name in (None, "auto"):
        assert got.model_id in of.on_disk or of.fetchable
        if got.route.backend == "sphinx":
            assert got.hint in (None, "en")
            assert not of.fetchable or not any(
                of.engines[e].installed for e in of.engines if e != "sphinx"
            )
