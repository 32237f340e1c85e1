"""The inventory over engines made up here: facts, entries, the probe of the hub, what is loaded."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from attrs import evolve

from aistack.chunks import ModelSpec
from aistack.config import (
    Config,
    EnginesSection,
    InferenceSection,
    ModelsSection,
    SlotsSection,
)
from aistack.contract.converters import structure, to_json
from aistack.contract.public import ModelEntry, ModelsList
from aistack.engines.base import EngineDefaults, OfferedModel
from aistack.engines.nanochat.engine import Nanochat
from aistack.engines.parakeet import Parakeet
from aistack.engines.sensevoice import SenseVoice
from aistack.engines.sphinx import Sphinx
from aistack.engines.whisper import LANGUAGES, Whisper
from aistack.errors import BackendFault, Code
from aistack.jobs.model import Resident
from aistack.routing import inventory
from aistack.routing.discovery import real_engines
from aistack.routing.inventory import Inventory, hub_answers
from aistack.routing.remembered import Remembered
from aistack.routing.specs import specification
from aistack.weights.hub import offline
from aistack.weights.whisper import SIZES

pytestmark = pytest.mark.both_loops

SMALL = "whisper-small"
PARAKEET = "nvidia/parakeet-tdt-0.6b-v3"
SENSEVOICE = "iic/SenseVoiceSmall"
SPHINX = "pocketsphinx-en-us"
MODELS = {
    "sphinx": OfferedModel(SPHINX, "cmusphinx", "asr", ("en",), created=5),
    "fake": OfferedModel("fake-1", "x", "asr", ("en",), created=6),
    "whisper": OfferedModel(SMALL, "openai", "asr", tuple(sorted(LANGUAGES)), translate=True, created=1),
    "parakeet": OfferedModel(PARAKEET, "nvidia", "asr", ("en", "de"), False, max_seconds=86400.0),
    "sensevoice": OfferedModel(SENSEVOICE, "alibaba", "asr", ("zh", "yue", "en", "ja", "ko")),
}
REAL = {"whisper": Whisper, "parakeet": Parakeet, "sensevoice": SenseVoice, "sphinx": Sphinx}
WHISPER = ("whisper",)


class Clock:
    """Monotonic seconds that move when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Hub:
    """A probe that counts, and answers as told."""

    def __init__(self, answer: bool = True) -> None:
        self.answer = answer
        self.asked = 0

    async def __call__(self) -> bool:
        self.asked += 1
        return self.answer


Build = Callable[..., Inventory]


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> Build:
    """Make an inventory over made-up engine modules, one per name.

    `lacking`: engines whose library is not installed; `on_disk`: Whisper sizes there are.
    """

    def make(
        *names: str,
        lacking: tuple[str, ...] = (),
        on_disk: tuple[str, ...] = (),
        config: Config | None = None,
        environ: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Inventory:
        def weights(self: Any, model: ModelSpec, environ: Mapping[str, str]) -> bool:
            size = model.source
            return size in on_disk if size in SIZES else Path(size, "model.bin").is_file()

        dotted = {}
        for name in names:
            real = REAL.get(name, EngineDefaults)
            members: dict[str, Any] = {
                "name": name,
                "provider": name.title(),
                "install": f"pip install {name}",
                "requires": ("json", "no_such_module") if name in lacking else ("json",),
                "auto": real.auto,
                "operator_models": real.operator_models,
                "models": lambda self, model=MODELS[name]: (model,),
            }
            if name == "whisper":
                members["models"] = lambda self: (
                    evolve(MODELS["whisper"], source="small"),
                    *Whisper().models()[1:],
                )
                members["weights"] = weights
                members["fetch"] = lambda self, model, report: None
            module = ModuleType(f"made_up_{name}")
            vars(module)["Made"] = type("Made", (EngineDefaults,), members)
            monkeypatch.setitem(sys.modules, module.__name__, module)
            dotted[name] = f"{module.__name__}:Made"
        options.setdefault("probe", Hub(False))
        return Inventory(config or Config(), engines=dotted, environ=environ or {}, **options)

    return make


def ids(listed: ModelsList) -> list[str]:
    return [entry.id for entry in listed.data]


def by_id(listed: ModelsList) -> dict[str, ModelEntry]:
    return {entry.id: entry for entry in listed.data}


# --- entries -----------------------------------------------------------------------------------------


async def test_a29_a30_a31_a32_every_entry_is_the_contracts(build: Build) -> None:
    listed = await build(*MODELS).models()
    plain = structure(json.loads(to_json(listed)), ModelsList)
    assert plain == listed and listed.object == "list"
    for entry in listed.data:
        assert entry.id and entry.owned_by
        assert entry.capabilities == ("asr",)
        assert isinstance(entry.supports_streaming, bool)
        assert isinstance(entry.created, int)


async def test_a33_nothing_is_null(build: Build) -> None:
    assert b"null" not in to_json(await build(*MODELS).models())


async def test_the_order_is_fixed_whatever_the_roll_says(build: Build) -> None:
    assert ids(await build(*MODELS).models()) == ["auto", SMALL, PARAKEET, SENSEVOICE, "fake-1", SPHINX]


async def test_a34_a36_a38_the_alias(build: Build) -> None:
    listed = await build("whisper", "sphinx").models()
    (alias,) = [entry for entry in listed.data if entry.is_routing_alias]
    assert (alias.id, alias.owned_by, alias.capabilities) == ("auto", "aistack", ("asr",))
    assert alias.languages is None and alias.loaded is None
    assert ids(listed).count("auto") == 1


@pytest.mark.parametrize(
    "config",
    [Config(engines=EnginesSection(disabled=("whisper", "sphinx"))), Config()],
    ids=["off", "absent"],
)
async def test_a35_no_alias_without_engines(build: Build, config: Config) -> None:
    lacking = () if config.engines.disabled else ("whisper", "sphinx")
    assert ids(await build("whisper", "sphinx", config=config, lacking=lacking).models()) == []


async def test_a37_the_alias_streams_if_all_do(build: Build) -> None:
    async def streams(*names: str, **options: Any) -> bool:
        return by_id(await build(*names, **options).models())["auto"].supports_streaming

    assert await streams("whisper", "sensevoice", "sphinx")
    assert not await streams("whisper", "parakeet")
    assert await streams("whisper", "parakeet", lacking=("parakeet",))


async def test_a39_to_a45_the_real_entries(build: Build) -> None:
    entries = by_id(await build(*MODELS).models())
    assert (entries[SMALL].owned_by, entries[SMALL].supports_streaming) == ("openai", True)
    assert (entries[PARAKEET].owned_by, entries[PARAKEET].supports_streaming) == ("nvidia", False)
    assert (entries[SENSEVOICE].owned_by, entries[SENSEVOICE].supports_streaming) == ("alibaba", True)
    for model, entry in entries.items():
        if model != "auto":
            assert entry.languages
            assert all(re.fullmatch("[a-z]{2,3}", code) for code in entry.languages)
    assert {"en", "zh", "ja", "ko", "es", "fr", "yue"} <= set(entries[SMALL].languages or ())


async def test_what_is_added_to_the_seeds_entry(build: Build) -> None:
    entries = by_id(await build(*MODELS).models())
    assert (entries[SMALL].created, entries[SMALL].translate, entries[SMALL].word_timestamps) == (
        1,
        True,
        True,
    )
    assert entries[SMALL].max_seconds is None
    assert (entries[PARAKEET].max_seconds, entries[PARAKEET].translate) == (86400.0, False)


async def test_loaded_is_what_sits_in_memory(build: Build) -> None:
    stock = build("whisper", "sphinx")
    assert by_id(await stock.models())[SMALL].loaded is False
    entries = by_id(await stock.models({Resident("whisper", SMALL)}))
    assert (entries[SMALL].loaded, entries[SPHINX].loaded) == (True, False)


async def test_others_come_last(build: Build) -> None:
    other = ModelEntry(
        id="qwen3:4b", created=1, owned_by="ollama", capabilities=("llm",), supports_streaming=True
    )
    assert ids(await build("whisper").models(others=(other,))) == ["auto", SMALL, "qwen3:4b"]
    assert ids(await build().models(others=(other,))) == ["qwen3:4b"]


async def test_local_directories_are_listed_beside_whisper(build: Build, tmp_path: Path) -> None:
    weights = tmp_path / "model.bin"
    weights.write_bytes(b"x")
    config = Config(models=ModelsSection(local={"ours": str(tmp_path), "gone": str(tmp_path / "no")}))
    stock = build("whisper", config=config)
    entries = by_id(await stock.models({Resident("whisper", "ours")}))
    assert list(entries) == ["auto", SMALL, "ours"], "a directory without weights would not serve"
    assert (entries["ours"].owned_by, entries["ours"].loaded) == ("local", True)
    assert entries["ours"].created == int(weights.stat().st_mtime)
    assert (await stock.facts()).on_disk == {"ours"}
    assert ids(await build("sphinx", config=config).models()) == ["auto", SPHINX]


async def test_a_size_with_weights_of_its_own_is_listed_once(build: Build, tmp_path: Path) -> None:
    weights = tmp_path / "model.bin"
    weights.write_bytes(b"x")
    stock = build("whisper", "sphinx", config=Config(models=ModelsSection(local={SMALL: str(tmp_path)})))
    assert ids(await stock.models()) == ["auto", SMALL, SPHINX]
    entry = await stock.entry(SMALL)
    assert entry.owned_by == "openai"


async def test_one_entry(build: Build) -> None:
    stock = build("whisper", "sensevoice")
    assert (await stock.entry(SENSEVOICE)).id == SENSEVOICE
    assert (await stock.entry(SMALL, {Resident("whisper", SMALL)})).loaded
    for unknown in ("nope", "whisper-1", "whisper-tiny", ""):
        with pytest.raises(BackendFault) as caught:
            await stock.entry(unknown)
        assert caught.value.fault.status == 404
        assert caught.value.fault.code is Code.MODEL_NOT_FOUND


async def test_a53_a54_listing_asks_nobody(build: Build) -> None:
    hub = Hub()
    await build(*MODELS, probe=hub).models()
    assert hub.asked == 0


async def test_a55_every_listed_id_with_weights_is_routed_to_itself(build: Build) -> None:
    stock = build(*MODELS, on_disk=("small",))
    here = (await stock.facts()).on_disk
    assert here == {SMALL, PARAKEET, SENSEVOICE, "fake-1", SPHINX}
    for model in here:
        assert (await stock.route(model, None, False)).model_id == model


# --- facts -------------------------------------------------------------------------------------------


async def test_a_library_that_is_missing(build: Build) -> None:
    facts = await build("whisper", "sphinx", lacking=WHISPER, on_disk=("small",)).facts()
    assert not facts.engines["whisper"].installed and facts.engines["sphinx"].installed
    assert (facts.engines["whisper"].provider, facts.engines["whisper"].install) == (
        "Whisper",
        f"{shlex.quote(sys.executable)} -m pip install whisper",
    )
    assert facts.on_disk == {SPHINX}, "weights without their library serve nobody"


async def test_an_engine_with_its_own_interpreter_counts_as_installed(build: Build) -> None:
    config = Config(whisper=evolve(Config().whisper, python="elsewhere/bin/python"))
    assert (await build("whisper", lacking=WHISPER, config=config).facts()).engines["whisper"].installed


async def test_an_engine_that_is_switched_off_is_not_even_imported(build: Build) -> None:
    stock = Inventory(
        Config(engines=EnginesSection(disabled=("broken",))),
        engines={"broken": "no.such.module:Thing"},
        environ={},
    )
    facts = await stock.facts()
    assert not facts.engines and facts.disabled == {"broken"}


async def test_a_broken_engine_does_not_stop_the_others(build: Build, monkeypatch: Any) -> None:
    build("sphinx")
    stock = Inventory(
        Config(),
        engines={
            "broken": "no.such.module:Thing",
            "worse": "made_up_sphinx:Missing",
            "sphinx": "made_up_sphinx:Made",
        },
        environ={},
    )
    assert list((await stock.facts()).engines) == ["sphinx"]
    assert stock.engine("sphinx").name == "sphinx"
    with pytest.raises(KeyError):
        stock.engine("broken")


async def test_a_look_at_the_disk_is_believed_for_a_moment(build: Build) -> None:
    clock = Clock()
    sizes: list[str] = []
    stock = build("whisper", on_disk=sizes, clock=clock)
    assert (await stock.facts()).on_disk == set()
    sizes.append("small")
    assert (await stock.facts()).on_disk == set()
    clock.now += inventory.DISK_TTL_S
    assert (await stock.facts()).on_disk == {SMALL}


async def test_aliases_of_the_configuration_are_known(build: Build) -> None:
    config = Config(models=ModelsSection(aliases={"mine": SPHINX}))
    assert (await build("sphinx", config=config).route("mine", None, False)).model_id == SPHINX


# --- the hub -----------------------------------------------------------------------------------------


async def test_the_hub_is_asked_only_when_it_matters_and_then_once_a_minute(build: Build) -> None:
    clock, hub = Clock(), Hub()
    stock = build("whisper", "sphinx", probe=hub, clock=clock)
    assert (await stock.route("whisper-tiny", None, False)).model_id == "whisper-tiny"
    assert (await stock.route(SPHINX, None, False)).model_id == SPHINX
    assert hub.asked == 0
    for _ in range(3):
        assert (await stock.route("auto", None, False)).model_id == SMALL
    assert hub.asked == 1
    hub.answer = False
    clock.now += inventory.HUB_TTL_S
    assert (await stock.route("auto", None, False)).model_id == SPHINX
    assert hub.asked == 2


async def test_weights_on_the_disk_need_no_hub(build: Build) -> None:
    hub = Hub()
    stock = build("whisper", "sphinx", probe=hub, on_disk=("small",))
    assert (await stock.route(None, "ar", False)).model_id == SMALL
    assert hub.asked == 0


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
async def test_offline_means_no_probe(build: Build, name: str) -> None:
    hub = Hub()
    stock = build("whisper", "sphinx", probe=hub, environ={name: "1"})
    assert (await stock.route("auto", None, False)).model_id == SPHINX
    assert hub.asked == 0


@pytest.mark.parametrize(("word", "expected"), [("1", True), ("on", True), ("0", False), ("", False)])
def test_offline_is_read_as_the_hubs_own_library_does(word: str, expected: bool) -> None:
    assert offline({"HF_HUB_OFFLINE": word}) is expected


async def test_callers_who_come_together_share_one_call() -> None:
    gate, asked = asyncio.Event(), 0

    async def ask() -> str:
        nonlocal asked
        asked += 1
        await gate.wait()
        return "answer"

    remembered = Remembered(ask, 60.0, Clock())
    callers = [asyncio.ensure_future(remembered.get()) for _ in range(5)]
    await asyncio.sleep(0)
    callers[0].cancel()
    gate.set()
    answers = await asyncio.wait_for(asyncio.gather(*callers, return_exceptions=True), 5)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == ["answer"] * 4, "one caller who leaves takes nobody with him"
    assert asked == 1


async def test_a_failed_call_is_not_remembered() -> None:
    outcomes: list[Any] = [OSError("no"), "answer"]

    async def ask() -> str:
        outcome = outcomes.pop(0)
        if isinstance(outcome, OSError):
            raise outcome
        return str(outcome)

    remembered = Remembered(ask, 60.0, Clock())
    with pytest.raises(OSError, match="no"):
        await remembered.get()
    assert await remembered.get() == "answer"


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("status", "answers"),
    [(200, True), (302, True), (404, True), (401, False), (403, False), (500, False), (503, False)],
)
async def test_what_counts_as_an_answer(no_proxy: None, status: int, answers: bool) -> None:
    seen: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.method)
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)
    async with TestServer(app) as server:
        assert await hub_answers({"HF_ENDPOINT": str(server.make_url("/"))}) is answers
        assert seen == ["HEAD"]
        assert not await hub_answers({"HF_ENDPOINT": str(server.make_url("/")), "HF_HUB_OFFLINE": "1"})
        assert seen == ["HEAD"]


async def test_a_hub_that_hangs_is_given_up(no_proxy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "PROBE_S", 0.1)
    release = asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        await release.wait()
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)
    async with TestServer(app) as server:
        asked = hub_answers({"HF_ENDPOINT": str(server.make_url("/"))})
        assert await asyncio.wait_for(asked, 5) is False
        release.set()


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "nonsense", "http://[", "ftp://x"])
async def test_no_hub_at_all(no_proxy: None, endpoint: str) -> None:
    assert await asyncio.wait_for(hub_answers({"HF_ENDPOINT": endpoint}), 5) is False


# --- what to load ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "source"),
    [(SMALL, "small"), ("whisper-large-v3-turbo", "large-v3-turbo"), ("ours", "weights/ours")],
)
def test_whisper_is_told_a_size_or_a_directory(model: str, source: str) -> None:
    config = Config(models=ModelsSection(local={"ours": "weights/ours"}))
    spec = specification(config, Whisper(), model, "cuda:1")
    assert (spec.id, spec.source, spec.device) == (model, source, "cuda:1")
    assert spec.options == {"batch_size": 8}


def test_options_come_from_the_configuration(build: Build) -> None:
    config = Config(
        engines=EnginesSection(threads=3),
        whisper=evolve(Config().whisper, compute_type="int8", batch_size=4),
    )
    stock = build("whisper", "sphinx", config=config)
    assert stock.spec(Resident("whisper", SMALL), "cpu").options == {
        "threads": 3,
        "compute_type": "int8",
        "batch_size": 4,
    }
    sphinx = stock.spec(Resident("sphinx", SPHINX), "cpu")
    assert (sphinx.source, sphinx.options) == (SPHINX, {"threads": 3})
    assert stock.spec(Resident("sphinx", "x"), "cpu") == evolve(sphinx, id="x", source="x")
    with pytest.raises(BackendFault, match="third_party is not offered"):
        stock.spec(Resident("third_party", "x"), "cpu")


def test_weights_by_tag_lie_below_the_root_and_know_their_slot() -> None:
    config = Config(
        inference=InferenceSection(root="/srv/weights"), slots=SlotsSection(devices=("cpu", "cuda:1"))
    )
    spec = specification(config, Nanochat(), "d20", "cuda:1")
    assert (spec.source, spec.slot, spec.options) == ("/srv/weights/d20", 1, {"dtype": "auto"})
    assert specification(config, Nanochat(), "d20", "cpu").slot == 0


def test_the_scripted_engine_is_offered_only_when_asked_for() -> None:
    assert "fake" not in real_engines()
    assert list(real_engines()) == [
        "whisper",
        "parakeet",
        "sensevoice",
        "sphinx",
        "espeak",
        "nanochat",
    ]
