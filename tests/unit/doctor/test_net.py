"""Hubs and other servers: broken only where somebody named them."""

from __future__ import annotations

from aistack.config import Config
from aistack.config.backends import OllamaSection, QwenTtsSection, SensevoiceSection
from aistack.doctor import net as doctor_net
from aistack.doctor.findings import FindingState
from tests.doubles.hub import Hub
from tests.doubles.ollama import Ollama
from tests.doubles.vllm_omni import VllmOmni

NOWHERE = "http://127.0.0.1:9"
HF_ONLY = Config(sensevoice=SensevoiceSection(hub="hf"))


async def test_hubs() -> None:
    async with Hub() as hub:
        (found,) = await doctor_net.hubs(HF_ONLY, {"HF_ENDPOINT": hub.url})
    assert (found.state, found.says) == (FindingState.WORKS, f"answers at {hub.url}")
    (found,) = await doctor_net.hubs(HF_ONLY, {"HF_ENDPOINT": NOWHERE})
    assert found.state is FindingState.BROKEN
    assert "connection refused" in found.says
    (found,) = await doctor_net.hubs(HF_ONLY, {"HF_ENDPOINT": NOWHERE, "HF_HUB_OFFLINE": "1"})
    assert found.state is FindingState.NOTE and "HF_HUB_OFFLINE" in found.says


async def test_the_usual_hub_need_not_answer() -> None:
    found = await doctor_net._hub("Hugging Face", "", NOWHERE)
    assert found.state is FindingState.NOTE


async def test_servers_that_answer() -> None:
    async with Ollama() as ollama, VllmOmni() as omni:
        config = Config(ollama=OllamaSection(url=ollama.url), qwen_tts=QwenTtsSection(url=omni.url))
        chat, speech = await doctor_net.upstream_findings(config)
        ollama.models.clear()
        empty, _ = await doctor_net.upstream_findings(config)
    assert (chat.state, speech.state) == (FindingState.WORKS, FindingState.WORKS)
    assert chat.facts["models"] == ["qwen3:4b"]
    assert (empty.state, empty.help) == (FindingState.NOTE, "ollama pull NAME")


async def test_servers_that_do_not() -> None:
    named = Config(ollama=OllamaSection(url=NOWHERE), qwen_tts=QwenTtsSection(url=NOWHERE))
    for found in await doctor_net.upstream_findings(named):
        assert found.state is FindingState.BROKEN
        assert f"does not answer at {NOWHERE} (connection refused)" in found.says
    absent = doctor_net._absent("Ollama", "chat", NOWHERE, "connection refused", False)
    assert absent.state is FindingState.NOTE


async def test_an_address_that_is_none_and_a_server_that_is_ill() -> None:
    chat, _ = await doctor_net.upstream_findings(Config(ollama=OllamaSection(url="not a url")))
    assert chat.state is FindingState.BROKEN
    async with Ollama() as ollama:
        ollama.fail("/api/version", "status", status=500)
        chat, _ = await doctor_net.upstream_findings(Config(ollama=OllamaSection(url=ollama.url)))
        assert (chat.state, "status 500" in chat.says) == (FindingState.BROKEN, True)
        ollama.heal()
        ollama.fail("/api/version", "garbage")
        chat, _ = await doctor_net.upstream_findings(Config(ollama=OllamaSection(url=ollama.url)))
        assert chat.state is FindingState.BROKEN
