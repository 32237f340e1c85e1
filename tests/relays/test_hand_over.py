"""The card is handed over: ours is gone before Ollama's model runs, and the other way round."""

from __future__ import annotations

import attrs
import pytest
from structlog.testing import capture_logs

from aistack.run.memory import Card
from tests.doubles.ollama import Ollama as OllamaDouble
from tests.relays.conftest import MODEL, World

TOUCH = "/api/generate"


async def test_a181_a190_ours_is_gone_before_theirs_runs_and_the_other_way_round(
    world: World, ollama: OllamaDouble
) -> None:
    assert (await world.ask(world.transcribe())).status == 200
    assert world.runner._processes
    assert (await world.ask(world.chat())).status == 200
    assert not world.runner._processes and MODEL in ollama.runners
    assert (await world.ask(world.transcribe())).status == 200
    assert world.runner._processes and not ollama.runners


async def test_others_who_use_ollama_are_noticed(world: World, ollama: OllamaDouble) -> None:
    ollama.install("other")
    ollama.install("on-cpu")
    for name in ("other", "on-cpu"):
        ollama.release(await ollama.acquire(name, float("inf")))
    ollama.runners["on-cpu"].size_vram = 0
    assert (await world.ask(world.transcribe())).status == 200
    assert list(ollama.runners) == ["on-cpu"], "what holds no memory of the card is left alone"


async def test_an_unload_is_verified_and_not_assumed(world: World, ollama: OllamaDouble) -> None:
    ollama.release(await ollama.acquire(MODEL, float("inf")))
    ollama.linger = 4
    await world.ollama.evict()
    assert not ollama.runners
    assert len(ollama.called("/api/ps")) == 4 and len(ollama.called(TOUCH)) == 1


async def test_a_model_that_will_not_go_does_not_hold_the_job_for_ever(
    world: World, ollama: OllamaDouble
) -> None:
    world.ollama.settings = attrs.evolve(world.ollama.settings, evict_s=0.3)
    ollama.stubborn = True
    ollama.release(await ollama.acquire(MODEL, float("inf")))
    assert (await world.ask(world.transcribe())).status == 200
    assert MODEL in ollama.runners


async def test_another_machines_ollama_is_left_alone(world: World, ollama: OllamaDouble) -> None:
    far = attrs.evolve(world.ollama.settings, url="http://192.0.2.1:11434")
    world.ollama.settings = far
    assert not world.ollama.on_our_card
    await world.ollama.evict()
    assert not ollama.calls
    world.ollama.settings = attrs.evolve(far, shares_gpu=True)
    assert world.ollama.on_our_card


async def test_evict_never_raises(world: World, ollama: OllamaDouble) -> None:
    for how in ({"do": "status", "status": 500}, {"do": "garbage"}, {"do": "reset"}):
        ollama.fail("/api/ps", **how)
        await world.ollama.evict()
        ollama.heal()
    ollama.fail("/api/ps", "status", status=200, body='{"models": [{"name": 5}, 7, {"size_vram": 3}]}')
    await world.ollama.evict()
    await ollama.stop()
    await world.ollama.evict()


async def test_the_hand_over_of_a_card_is_measured(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards = [Card(1_000, 8_000), Card(7_500, 8_000)]

    async def measured(device: str) -> Card:
        return cards.pop(0)

    monkeypatch.setattr("aistack.run.runner.measured", measured)
    with capture_logs() as lines:
        assert (await world.ask(world.transcribe())).status == 200
    (line,) = [line for line in lines if line["event"] == "card handed over"]
    assert (line["free_before"], line["free_after"], line["residue"]) == (1_000, 7_500, 500)
