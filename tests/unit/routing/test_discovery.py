"""Engines of other packages: what they say of themselves is read, and a broken one harms nobody."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import pytest
import structlog

from aistack.chunks import ModelSpec
from aistack.config import Config
from aistack.engines import ENGINES, SCRIPTED
from aistack.engines.base import AutoRules, EngineDefaults, EngineInfo, OfferedModel
from aistack.routing.discovery import construct, in_order
from aistack.routing.inventory import Inventory

pytestmark = pytest.mark.both_loops

MODEL = OfferedModel("made-1", "x", "asr", ("en", "gsw"))

Publish = Callable[..., str]


class Made(EngineDefaults):
    name = "made"
    provider = "Made"
    install = "pip install made"
    interleaves = True
    family = "made"
    auto = AutoRules(first_for=("gsw",))

    def models(self) -> tuple[OfferedModel, ...]:
        return (MODEL,)


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Put a class into a module of its own; its dotted name."""

    def do(engine: type) -> str:
        module = ModuleType(f"published_{engine.__name__.lower()}")
        vars(module)["Engine"] = engine
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return f"{module.__name__}:Engine"

    return do


async def test_what_it_says_is_what_routing_knows(publish: Publish) -> None:
    stock = Inventory(Config(), engines={"made": publish(Made)}, environ={})
    of = (await stock.facts()).engines["made"]
    assert (of.installed, of.provider, of.models, of.family) == (True, "Made", (MODEL,), "made")
    assert of.auto == Made.auto
    assert of.interleaves is True
    assert of.fetches is False, "it has no fetch"
    assert stock.engine("made").interleaves is True


async def test_one_that_fetches_is_known_by_its_method(publish: Publish) -> None:
    class Fetching(Made):
        def fetch(self, model: ModelSpec, report: Any) -> None:
            """Nothing is fetched here."""

    stock = Inventory(Config(), engines={"made": publish(Fetching)}, environ={})
    assert (await stock.facts()).engines["made"].fetches is True


async def test_weights_are_asked_with_the_environment(publish: Publish) -> None:
    class Elsewhere(Made):
        def weights(self, model: ModelSpec, environ: Mapping[str, str]) -> bool:
            return environ.get("HERE") == model.source

    engines = {"made": publish(Elsewhere)}
    assert (await Inventory(Config(), engines=engines, environ={}).facts()).on_disk == frozenset()
    here = Inventory(Config(), engines=engines, environ={"HERE": "made-1"})
    assert (await here.facts()).on_disk == {"made-1"}


async def test_one_that_breaks_while_it_is_asked_harms_nobody(publish: Publish) -> None:
    class Broken(Made):
        def weights(self, model: ModelSpec, environ: Mapping[str, str]) -> bool:
            raise ZeroDivisionError

    engines = {"broken": publish(Broken), "made": publish(Made)}
    stock = Inventory(Config(), engines=engines, environ={})
    with structlog.testing.capture_logs() as lines:
        assert list((await stock.facts()).engines) == ["made"]
    assert [(line["event"], line["engine"]) for line in lines] == [("engine.unusable", "broken")]
    assert [entry.id for entry in (await stock.models()).data] == ["auto", "made-1"]


def test_an_engine_of_the_last_release_has_defaults_for_the_rest(publish: Publish) -> None:
    class Old:
        name = "old"
        provider = "Old"
        requires = ("wave",)
        install = "pip install old"
        kill_after_s = 2.5

        def cards(self) -> list[OfferedModel]:
            return [MODEL]

    with structlog.testing.capture_logs() as lines:
        engine = construct("old", publish(Old))
    assert engine is not None
    assert (engine.name, engine.provider, engine.install) == ("old", "Old", "pip install old")
    assert (engine.requires, engine.kill_after_s) == (("wave",), 2.5)
    assert engine.models() == (MODEL,)
    assert engine.weights(ModelSpec("made-1", "made-1"), {})
    assert (engine.interleaves, engine.auto) == (False, AutoRules())
    assert [line["event"] for line in lines] == ["engine.outdated"]


def test_what_an_engine_lacks_is_named(publish: Publish) -> None:
    class Half:
        name = "half"
        provider = "Half"

        def models(self) -> tuple[OfferedModel, ...]:
            return ()

    with structlog.testing.capture_logs() as lines:
        assert construct("half", publish(Half)) is None
    assert lines[0]["event"] == "engine.unusable"
    with pytest.raises(TypeError, match=r"Half is not an engine: it lacks auto, .*, weights$"):
        construct_or_raise(publish(Half))


def construct_or_raise(dotted: str) -> None:
    """The error that the log has."""
    from aistack.routing import discovery

    module, _, name = dotted.partition(":")
    discovery._as_engine("half", vars(sys.modules[module])[name]())


def test_ours_come_first_in_the_order_of_their_table() -> None:
    given = {"zebra": "z:Z", "sphinx": "s:S", "whisper": "w:W", "ant": "a:A"}
    assert list(in_order(given)) == ["whisper", "sphinx", "zebra", "ant"]


async def test_an_engine_without_a_route_is_not_offered(publish: Publish) -> None:
    class Voice(Made):
        def models(self) -> tuple[OfferedModel, ...]:
            return (OfferedModel("voice-1", "x", "tts"),)

    class ByTag(Made):
        def models(self) -> tuple[OfferedModel, ...]:
            return ()

    engines = {"voice": publish(Voice), "tags": publish(ByTag), "made": publish(Made)}
    every = Inventory(Config(), engines=engines, environ={})
    assert set((await every.facts()).engines) == {"voice", "tags", "made"}
    no_speech = Inventory(Config(), engines=engines, capabilities=("asr",), environ={})
    assert set((await no_speech.facts()).engines) == {"tags", "made"}
    with pytest.raises(KeyError):
        no_speech.engine("voice")


@pytest.mark.parametrize(("name", "dotted"), (ENGINES | SCRIPTED).items())
def test_every_engine_of_ours_says_all_that_is_asked(name: str, dotted: str) -> None:
    with structlog.testing.capture_logs() as lines:
        engine = construct(name, dotted)
    assert isinstance(engine, EngineInfo) and engine.name == name
    assert lines == []
