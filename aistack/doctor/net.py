"""The doctor's checks of other servers: the model hubs, and the upstreams that are relayed."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Mapping
from typing import Any

import aiohttp

from aistack.config import Config
from aistack.config.backends import OllamaSection, QwenTtsSection
from aistack.doctor.findings import Finding, FindingState
from aistack.weights.hub import offline
from aistack.weights.hub_probe import (
    HUGGINGFACE,
    MODELSCOPE,
    chosen_endpoint,
    reason_of,
    why_unreachable,
)

ASK_S = 5.0


async def hubs(config: Config, environ: Mapping[str, str]) -> list[Finding]:
    """Whether models can be downloaded. A configured hub must answer, the default one need not."""
    if offline(environ):
        says = "downloads are off (HF_HUB_OFFLINE): only models on the disk can be used"
        return [Finding("Model hubs", "Hugging Face", FindingState.NOTE, says)]
    looks = [_hub("Hugging Face", chosen_endpoint(environ), HUGGINGFACE)]
    if config.sensevoice.hub == "ms" and importlib.util.find_spec("modelscope") is not None:
        named = environ.get("MODELSCOPE_ENDPOINT", "").strip()
        looks.append(_hub("ModelScope", named, MODELSCOPE))
    return list(await asyncio.gather(*looks))


async def _hub(name: str, named: str, usual: str) -> Finding:
    url = named or usual
    why = await why_unreachable(url, ASK_S)
    if not why:
        return Finding("Model hubs", name, FindingState.WORKS, f"answers at {url}")
    says = f"cannot be reached at {url} ({why}): only models on the disk can be used"
    return Finding("Model hubs", name, FindingState.BROKEN if named else FindingState.NOTE, says)


async def upstream_findings(config: Config) -> list[Finding]:
    """Ollama and the speech container. Broken only if their address is configured: both are optional."""
    return list(await asyncio.gather(_ollama(config.ollama), _speech(config.qwen_tts)))


async def _ollama(section: OllamaSection) -> Finding:
    url = section.url.rstrip("/")
    status, version, why = await _get(f"{url}/api/version")
    if status != 200 or not isinstance(version, dict) or "version" not in version:
        return _absent("Ollama", "chat", url, why or f"status {status}", url != OllamaSection().url)
    _, tags, _ = await _get(f"{url}/api/tags")
    names = [model.get("name") for model in tags.get("models", ())] if isinstance(tags, dict) else []
    says = f"{version['version']} at {url}, {len(names)} models"
    facts = {"url": url, "version": version["version"], "models": names}
    if not names:
        return Finding("Other servers", "Ollama", FindingState.NOTE, says, "ollama pull NAME", facts)
    return Finding("Other servers", "Ollama", FindingState.WORKS, says, facts=facts)


async def _speech(section: QwenTtsSection) -> Finding:
    url = section.url.rstrip("/")
    status, _, why = await _get(f"{url}/health")
    if status != 200:
        return _absent(
            "Qwen3-TTS", "speech", url, why or f"status {status}", url != QwenTtsSection().url
        )
    return Finding(
        "Other servers", "Qwen3-TTS", FindingState.WORKS, f"healthy at {url}", facts={"url": url}
    )


def _absent(name: str, use: str, url: str, why: str, configured: bool) -> Finding:
    state = FindingState.BROKEN if configured else FindingState.NOTE
    says = f"does not answer at {url} ({why}); needed only for {use}"
    return Finding("Other servers", name, state, says, facts={"url": url})


async def _get(url: str) -> tuple[int, Any, str]:
    """One bounded request: status (0: no answer), the JSON body if any, and why there was no answer."""
    timeout = aiohttp.ClientTimeout(total=ASK_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            try:
                return answer.status, await answer.json(encoding="utf-8", content_type=None), ""
            except ValueError:
                return answer.status, None, ""
    except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
        return 0, None, reason_of(exc, ASK_S)
