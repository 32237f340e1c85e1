"""`aistack serve --demo`: the gateway with scripted upstreams for chat and speech, to try it out.

Two small servers on free loopback ports, made of the standard library and aiohttp, speak the protocols
of Ollama and vLLM-Omni, so that every call takes the same path as in production: queue, slot,
hand-over, relay. Their answers are scripted and say so. aistack's own engines are the real ones.
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
"""How long a running call may take to end; the gateway has drained before."""


@contextlib.asynccontextmanager
async def upstreams(config: Config) -> AsyncIterator[Config]:
    """Start both servers and yield the configuration that points to them; stop them at the end."""
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
    EngineNote("Chat (demo)", (chat.MODEL,), remark="scripted answers, no model"),
    EngineNote("Speech (demo)", (speech.MODEL,), remark="a melody, one note per word"),
)
"""What the start-up message lists in addition to the engines."""


def screen(url: str, keys: bool) -> str:
    """The text below the start-up message. `keys`: whether clients need one."""
    key = ' -H "Authorization: Bearer $AISTACK_KEY"' if keys else ""
    json = f"curl{key} -H 'Content-Type: application/json'"
    messages = '"messages": [{"role": "user", "content": "Hello"}]'
    asked = f'{{"model": "{chat.MODEL}", "stream": true, {messages}}}'
    said = f'{{"model": "{speech.MODEL}", "input": "Hello you out there"}}'
    return "\n".join(
        [
            "  DEMO: chat and speech are scripted, without a model. Transcription is real.",
            f"  Chat     {json} -d '{asked}' {url}/v1/chat/completions",
            f"  Speech   {json} -d '{said}' -o hello.wav {url}/v1/audio/speech",
            "",
        ]
    )
