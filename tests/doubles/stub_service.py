"""A service with our API and scripted answers, to test the command line without engines.

Run as a program, it is `aistack` with this service in the place of `aistack.service.serve`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import types
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs
from aiohttp import web

from aistack.cli.main import main
from aistack.config import Config
from aistack.config.addresses import parse_address
from aistack.routing.notes import EngineNote

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

MODELS = [
    {"id": "auto", "capabilities": ["asr"], "supports_streaming": False, "is_routing_alias": True},
    {
        "id": "whisper-tiny",
        "capabilities": ["asr"],
        "languages": ["en", "de", "fr", "it", "es", "nl", "ja"],
        "supports_streaming": True,
        "loaded": True,
    },
]


@attrs.define
class Script:
    """What is answered to transcriptions, one by one (the last for ever), and what was heard."""

    answers: list[Answer] = attrs.Factory(list)
    heard: list[dict[str, Any]] = attrs.Factory(list)
    health: dict[str, Any] = attrs.Factory(lambda: {"status": "ok", "version": "0"})

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/health", self._health)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/audio/transcriptions", self._transcribe)
        return app

    async def _health(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self.health)

    async def _models(self, request: web.Request) -> web.StreamResponse:
        self.heard.append({"key": request.headers.get("Authorization")})
        return web.json_response({"object": "list", "data": MODELS})

    async def _transcribe(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        fields: dict[str, Any] = {k: v for k, v in form.items() if isinstance(v, str)}
        file = form["file"]
        assert isinstance(file, web.FileField)
        fields |= {"file": file.file.read(), "filename": file.filename}
        file.file.close()
        fields |= {"prefer": request.headers.get("Prefer"), "key": request.headers.get("Authorization")}
        self.heard.append(fields)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await answer(request)


def stream(*events: dict[str, Any], cut: bool = False) -> Answer:
    """Server-sent events, with a heartbeat between them; `cut` ends inside the last one."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        data = b": ping\n\n".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
        data = data[:-3] if cut else data
        for start in range(0, len(data), 7):
            await response.write(data[start : start + 7])
        await response.write_eof()
        return response

    return answer


def refuse(status: int, message: str, retry_after: str | None = None) -> Answer:
    """The envelope."""

    async def answer(request: web.Request) -> web.StreamResponse:
        headers = {"Retry-After": retry_after} if retry_after else {}
        return web.json_response({"error": {"message": message}}, status=status, headers=headers)

    return answer


def plain(text: str, status: int = 200) -> Answer:
    """A whole answer."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(text=text, status=status)

    return answer


def delta(text: str, end: float) -> dict[str, Any]:
    return {"type": "transcript.text.delta", "delta": text, "segment": {"start": 0.0, "end": end}}


HELLO: tuple[dict[str, Any], ...] = (
    {"type": "warning", "code": "x", "message": "y", "delta": ""},
    delta("Hello", 1.0),
    delta(" wörld.", 2.5),
    {"type": "transcript.text.done", "text": "Hello wörld.", "language": "en", "duration": 2.5},
)


async def run_service(
    config: Config,
    *,
    fake: bool,
    ready: Callable[[Sequence[str], Sequence[EngineNote]], None],
    stop: asyncio.Event,
) -> None:
    """In the place of `aistack.service.serve.run_service`. To preload "stubborn" never lets it stop."""
    runner = web.AppRunner(Script([stream(*HELLO)]).app())
    await runner.setup()
    try:
        addresses = []
        for text in config.server.listen:
            site = web.TCPSite(runner, *parse_address(text))
            await site.start()
            host, port, *_ = runner.addresses[-1]
            addresses.append(f"{host}:{port}")
        ready(
            addresses,
            [EngineNote("Stub", ("stub-en",)), EngineNote("Absent", install="pip install absent")],
        )
        await stop.wait()
        if config.slots.preload == "stubborn":
            sys.stderr.write("draining\n")
            sys.stderr.flush()
            await asyncio.wait_for(asyncio.Event().wait(), 60)
    finally:
        await runner.cleanup()


def install() -> types.ModuleType:
    """A module to stand where `aistack.service.serve` is looked for."""
    module = types.ModuleType("aistack.service.serve")
    module.run_service = run_service  # type: ignore[attr-defined]
    return module


if __name__ == "__main__":
    sys.modules["aistack.service.serve"] = install()
    sys.exit(main())
