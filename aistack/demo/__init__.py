"""`aistack serve --demo`: the gateway with scripted upstreams for chat and speech, to try it out.

Nothing but the standard library and aiohttp: two small servers on free loopback ports that speak
Ollama's and vLLM-Omni's dialect, so that every call goes the way it goes in earnest: queue, slot,
hand-over, relay. Their answers are made up and say so. Engines of ours are the real ones.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from aiohttp import web
from attrs import evolve

from aistack.config import Config
from aistack.demo import chat, speech
from aistack.routing.notes import EngineNote

STOP_S = 1.0
"""How long a call still under way may take to end: the gateway has drained before."""


@contextlib.asynccontextmanager
async def upstreams(config: Config) -> AsyncIterator[Config]:
    """Both servers; the configuration that leads to them. Stopped at the end."""
    async with contextlib.AsyncExitStack() as stack:
        ollama = await stack.enter_async_context(_listening(chat.application()))
        container = await stack.enter_async_context(_listening(speech.application()))
        yield evolve(
            config,
            ollama=evolve(config.ollama, url=ollama),
            qwen_tts=evolve(config.qwen_tts, url=container, model=speech.MODEL),
        )


@contextlib.asynccontextmanager
async def _listening(app: web.Application) -> AsyncIterator[str]:
    """`app` on a free loopback port; its address."""
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=STOP_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


NOTES = (
    EngineNote("Chat (demo)", (chat.MODEL,), remark="scripted answers, no model behind them"),
    EngineNote("Speech (demo)", (speech.MODEL,), remark="a melody, one note per word"),
)
"""What the start-up screen lists beside the engines."""


def screen(url: str, keys: bool) -> str:
    """What is said below the start-up screen. `keys`: whether callers need one."""
    key = ' -H "Authorization: Bearer $AISTACK_KEY"' if keys else ""
    json = f"curl{key} -H 'Content-Type: application/json'"
    messages = '"messages": [{"role": "user", "content": "Hello"}]'
    asked = f'{{"model": "{chat.MODEL}", "stream": true, {messages}}}'
    said = f'{{"model": "{speech.MODEL}", "input": "Hello you out there"}}'
    return "\n".join(
        [
            "  DEMO: chat and speech answers are scripted, no model makes them. Transcription is real.",
            f"  chat   {json} -d '{asked}' {url}/v1/chat/completions",
            f"  speech {json} -d '{said}' -o hello.wav {url}/v1/audio/speech",
            "",
        ]
    )
