"""The card is handed over: ours is gone before Ollama's model runs, and the other way round."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs
import pytest
from structlog.testing import capture_logs

from aistack.config import Config
from aistack.config.backends import OllamaSection, QwenTtsSection
from aistack.relays.upstreams import Upstreams
from aistack.run.nvml import GpuMemory
from tests.doubles.ollama import Ollama as OllamaDouble
from tests.doubles.vllm_omni import VllmOmni
from tests.unit.relays.conftest import BOUND_S, MODEL, World

pytestmark = pytest.mark.both_loops

TOUCH = "/api/generate"


async def test_a181_a190_ours_is_gone_before_theirs_runs_and_the_other_way_round(
    world: World, ollama: OllamaDouble
) -> None:
    assert (await world.ask(world.transcribe())).status == 200
    assert world.runner.processes()
    assert (await world.ask(world.chat())).status == 200
    assert not world.runner.processes() and MODEL in ollama.runners
    assert (await world.ask(world.transcribe())).status == 200
    assert world.runner.processes() and not ollama.runners


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
    cards = [GpuMemory(1_000, 8_000), GpuMemory(7_500, 8_000)]

    async def measured(device: str) -> GpuMemory:
        return cards.pop(0)

    monkeypatch.setattr("aistack.run.runner.measured", measured)
    with capture_logs() as lines:
        assert (await world.ask(world.transcribe())).status == 200
    (line,) = [line for line in lines if line["event"] == "card handed over"]
    assert (line["free_before"], line["free_after"], line["residue"]) == (1_000, 7_500, 500)


async def test_a_relay_whose_evict_raises_does_not_cost_the_job(
    world: World, omni: VllmOmni, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An eviction cannot fail: it is logged, the others are asked all the same, and the load follows."""
    omni.can_sleep = True

    async def broken() -> None:
        raise RuntimeError("made up")

    monkeypatch.setattr(world.ollama, "evict", broken)
    with capture_logs() as lines:
        assert (await world.ask(world.transcribe())).status == 200
    assert omni.sleeping
    assert any("could not be asked" in line["event"] for line in lines)


async def test_both_upstreams_are_asked_at_the_same_time(
    world: World, omni: VllmOmni, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has ten seconds: one after the other would be twenty."""
    omni.can_sleep = True
    container_asked = asyncio.Event()

    async def slow() -> None:
        await asyncio.wait_for(container_asked.wait(), BOUND_S)

    monkeypatch.setattr(world.ollama, "evict", slow)
    asking = asyncio.create_task(world.ask(world.transcribe()))
    await omni.until(lambda: bool(omni.called("/sleep")))
    container_asked.set()
    assert (await asking).status == 200


async def test_ollama_makes_room_before_the_container_wakes(
    world: World, ollama: OllamaDouble, omni: VllmOmni, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Transcribe, chat, speak: the container takes its memory back, which Ollama's model has."""
    omni.can_sleep = True
    world.tts.make_room = world.ollama.evict
    assert ((await world.ask(world.transcribe())).status, omni.sleeping) == (200, True)
    assert (await world.ask(world.chat())).status == 200
    assert MODEL in ollama.runners
    woken_over: list[set[str]] = []
    real = world.tts.upstream.json

    async def json(method: str, path: str, *rest: Any, **named: Any) -> Any:
        if path == "/wake_up":
            woken_over.append(set(ollama.runners))
        return await real(method, path, *rest, **named)

    monkeypatch.setattr(world.tts.upstream, "json", json)
    assert (await world.ask(world.speech())).status == 200
    assert woken_over == [set()]
    assert not omni.sleeping
    assert (await world.ask(world.chat())).status == 200
    assert (await world.ask(world.speech())).status == 200
    assert MODEL in ollama.runners, "who is awake needs no room"


async def test_a_container_that_will_not_wake_is_told(world: World, omni: VllmOmni) -> None:
    omni.can_sleep = omni.sleeping = True
    omni.fail("/wake_up", "status", status=500)
    with capture_logs() as lines:
        reply = await world.ask(world.speech())
    assert (reply.status, reply.error["code"]) == (500, "upstream_error")
    assert [line["status"] for line in lines if "was not woken" in line["event"]] == [500]


async def test_a_container_of_which_nothing_is_known_is_taken_for_one_that_sleeps(
    world: World, omni: VllmOmni
) -> None:
    """It was down when our model was loaded, and sleeps when it comes back."""
    port = omni.port
    await omni.stop()
    assert (await world.ask(world.transcribe())).status == 200
    omni.can_sleep = omni.sleeping = True
    await omni.start(port)
    assert (await world.ask(world.speech())).status == 200
    assert not world.runner.processes(), "it was woken, not on top of ours"


@pytest.mark.parametrize(("chat", "speech", "room"), [("", "", True), ("cuda:1", "", False)])
def test_each_is_bound_to_its_card(chat: str, speech: str, room: bool) -> None:
    config = Config(ollama=OllamaSection(device=chat), qwen_tts=QwenTtsSection(device=speech))
    outside = Upstreams(config, {"": "cuda:0", "auto": "cuda:0", "cuda:1": "cuda:1"})
    assert outside.bound == {"ollama": chat or "cuda:0", "qwen_tts": "cuda:0"}
    assert (outside.speech.make_room is not None) is room
