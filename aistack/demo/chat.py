"""The scripted chat of the demo, with Ollama's protocol: tags, ps, generate, the compatible endpoint.

It answers every chat with the same sentence, which says that it is scripted. `keep_alive` is accepted
without effect: no model is in memory, so `/api/ps` is always empty.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web

MODEL = "demo-chat"
CREATED = 1_767_225_600
TOKEN_S = 0.03
"""Pause between two words of a stream, so that it looks like one."""
ANSWER = (
    "This is a scripted answer of aistack's demo. No model has read your message ({count} words). "
    "Start Ollama, and aistack without --demo, to talk to a real model."
)


def application() -> web.Application:
    """The server."""
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.add_routes(
        [
            web.get("/api/tags", _tags),
            web.get("/api/ps", _ps),
            web.post("/api/generate", _generate),
            web.post("/v1/chat/completions", _completions),
        ]
    )
    return app


def words(messages: list[Any]) -> list[str]:
    """The answer, in the pieces of a stream; joined they are the text."""
    content = messages[-1].get("content") if isinstance(messages[-1], dict) else None
    count = len(content.split()) if isinstance(content, str) else 0
    first, *rest = ANSWER.format(count=count).split()
    return [first, *(f" {word}" for word in rest)]


async def _tags(request: web.Request) -> web.Response:
    model = {
        "name": MODEL,
        "model": MODEL,
        "modified_at": "2026-01-01T00:00:00Z",
        "size": 0,
        "digest": "0" * 64,
        "details": {"family": "demo"},
        "capabilities": ["completion"],
    }
    return web.json_response({"models": [model]})


async def _ps(request: web.Request) -> web.Response:
    return web.json_response({"models": []})


async def _generate(request: web.Request) -> web.Response:
    """Only what the gateway requests: load or unload, without a prompt."""
    asked = await _object(request)
    if asked is None or asked.get("model") != MODEL:
        return web.json_response({"error": "the demo has no such model"}, status=404)
    reason = "unload" if asked.get("keep_alive") == 0 else "load"
    return web.json_response({"model": MODEL, "response": "", "done": True, "done_reason": reason})


async def _completions(request: web.Request) -> web.StreamResponse:
    asked = await _object(request)
    if asked is None:
        return _error(400, "invalid_request_error", "The body must be a JSON object.")
    messages = asked.get("messages")
    if not isinstance(messages, list) or not messages:
        return _error(400, "invalid_request_error", "messages must be a non-empty list.")
    if asked.get("model") != MODEL:
        return _error(404, "not_found_error", f"The demo has only one model: {MODEL}.")
    said = words(messages)
    usage = {"prompt_tokens": 0, "completion_tokens": len(said), "total_tokens": len(said)}
    if asked.get("stream") is not True:
        message = {"role": "assistant", "content": "".join(said)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response(_head("chat.completion") | {"choices": [choice], "usage": usage})
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for index, word in enumerate(said):
        role = {"role": "assistant"} if index == 0 else {}
        await response.write(_chunk(role | {"content": word}))
        await asyncio.sleep(TOKEN_S)
    await response.write(_chunk({}, "stop"))
    options = asked.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage") is True:
        head = _head("chat.completion.chunk")
        await response.write(_event(head | {"choices": [], "usage": usage}))
    await response.write(b"data: [DONE]\n\n")
    return response


async def _object(request: web.Request) -> dict[str, Any] | None:
    """The JSON object in the body; None if it is anything else."""
    try:
        value = json.loads(await request.read())
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _head(kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-demo", "object": kind, "created": CREATED, "model": MODEL}


def _chunk(delta: dict[str, str], reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return _event(_head("chat.completion.chunk") | {"choices": [choice]})


def _event(value: Any) -> bytes:
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


def _error(status: int, kind: str, message: str) -> web.Response:
    error = {"message": message, "type": kind, "param": None, "code": None}
    return web.json_response({"error": error}, status=status)
