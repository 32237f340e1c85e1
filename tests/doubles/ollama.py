"""An Ollama that never saw a GPU: tags, ps, generate, the compatible chat endpoint, expiry.

Behaviour by the real sources (v0.33): the compatible endpoint drops `keep_alive`; a request without
one gives the server's default only when it loads the model and otherwise leaves the runner's
duration alone; the timer restarts when a request ends; an empty native generate with `keep_alive` 0
unloads; strings must be Go durations; a failure in mid-stream ends the body without a word.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import re
from typing import Any

from aiohttp import web
from attrs import define

from tests.doubles.base import BOUND_S, CALL, Double, reset, serve

DEFAULT_KEEP_ALIVE_S = 300.0
FOR_EVER = float("inf")
WORDS = ("Hello", " there", ",", " how", " are", " you", "?")

_DURATION = re.compile(r"([+-]?)((?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h))+")
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNIT = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def duration_s(value: Any) -> float:
    """A keep_alive as Ollama reads it, in seconds. Raises ValueError with Go's own words."""
    if isinstance(value, bool):
        raise ValueError(f"Unsupported type: '{value}'")
    if isinstance(value, int | float):
        return FOR_EVER if value < 0 else float(value)
    if not isinstance(value, str):
        raise ValueError(f"Unsupported type: '{value}'")
    if value in ("0", "+0", "-0"):
        return 0.0
    if not _DURATION.fullmatch(value):
        word = "missing unit in duration" if re.fullmatch(r"[+-]?[\d.]+", value) else "invalid duration"
        raise ValueError(f'time: {word} "{value}"')
    seconds = sum(float(number) * _UNIT[unit] for number, unit in _PART.findall(value))
    return FOR_EVER if value.startswith("-") else seconds


@define
class Loaded:
    """One runner: how long it is kept after its last request, and until when."""

    keep_s: float
    expires: float
    users: int = 0
    size_vram: int = 3_000_000_000


class Ollama(Double):
    """`models` are installed, `runners` are loaded; both may be edited by a test."""

    def __init__(self, real_clock: bool = False) -> None:
        super().__init__(real_clock)
        self.models: dict[str, dict[str, Any]] = {}
        self.runners: dict[str, Loaded] = {}
        self.words: tuple[str, ...] = WORDS
        self.load_s = 0.0
        self.token_s = 0.0
        self.die_after: int | None = None
        """Tokens after which the runner fails without a word."""
        self.finish_in_content = False
        """As versions before August 2026: the reason comes with the last word."""
        self.pause_before_done = asyncio.Event()
        self.pause_before_done.set()
        self.done_after_s = 0.0
        """Between the finish reason and `[DONE]`, so that they come in two reads."""
        self.gate_at = 0
        """Tokens that may pass before the gate is asked for each further one."""
        self.stubborn = False
        """A runner that will not be unloaded (someone else keeps it busy)."""
        self.linger = 0
        """Looks at /api/ps that an unloaded runner survives: its process takes a moment to end."""
        self.break_off = ""
        """After the finish reason: "end" (no `[DONE]`) or "reset"."""
        self.install("qwen3:4b")

    def install(self, name: str, **changes: Any) -> None:
        """Add a model to the tags."""
        self.models[name] = {
            "name": name,
            "model": name,
            "modified_at": "2026-08-21T10:11:12.123456789+02:00",
            "size": 2_600_000_000,
            "digest": "0" * 64,
            "details": {"family": "qwen3", "parameter_size": "4.0B"},
            "capabilities": ["completion", "tools"],
        } | changes

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/tags", self._tags),
            web.get("/api/ps", self._ps),
            web.get("/api/version", self._version),
            web.post("/api/generate", self._generate),
            web.get("/v1/models", self._models),
            web.post("/v1/chat/completions", self._chat),
        ]

    # --- the scheduler ---------------------------------------------------------------------------------

    def expire(self) -> None:
        """Unload what nobody uses and whose time is over."""
        now = self.clock.now()
        for name, runner in list(self.runners.items()):
            stays = self.stubborn or self.linger > 0
            if runner.users == 0 and runner.expires <= now and not stays:
                del self.runners[name]

    async def acquire(self, name: str, keep_alive: float | None) -> Loaded:
        """Load the model if need be; a duration given is the runner's from now on."""
        self.expire()
        runner = self.runners.get(name)
        if runner is None:
            if self.load_s:
                await asyncio.sleep(self.load_s)
            keep = DEFAULT_KEEP_ALIVE_S if keep_alive is None else keep_alive
            runner = self.runners[name] = Loaded(keep, self.clock.now() + keep)
        elif keep_alive is not None:
            runner.keep_s = keep_alive
        runner.users += 1
        return runner

    def release(self, runner: Loaded) -> None:
        """The request is over: its timer starts."""
        runner.users -= 1
        runner.expires = self.clock.now() + runner.keep_s
        self.expire()

    # --- native ----------------------------------------------------------------------------------------

    async def _version(self, request: web.Request) -> web.Response:
        return web.json_response({"version": "0.33.0"})

    async def _tags(self, request: web.Request) -> web.Response:
        return web.json_response({"models": list(self.models.values())})

    async def _ps(self, request: web.Request) -> web.Response:
        self.linger -= 1
        self.expire()
        models = []
        for name, runner in self.runners.items():
            left = min(runner.expires, self.clock.now() + 3e9)
            stamp = datetime.datetime.fromtimestamp(left, datetime.UTC)
            models.append(
                {
                    "name": name,
                    "model": name,
                    "size": 3_500_000_000,
                    "digest": "0" * 64,
                    "details": self.models.get(name, {}).get("details", {}),
                    "expires_at": stamp.isoformat().replace("+00:00", "Z"),
                    "size_vram": runner.size_vram,
                    "context_length": 4096,
                }
            )
        return web.json_response({"models": models})

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        try:
            asked = json.loads(await request.read())
            keep = asked.get("keep_alive")
            seconds = None if keep is None else duration_s(keep)
        except ValueError as exc:
            return _native_error(400, str(exc))
        name = asked.get("model", "")
        if name not in self.models:
            return _native_error(404, f"model '{name}' not found")
        said = {"model": name, "created_at": "2026-08-21T10:11:12Z", "response": "", "done": True}
        if not asked.get("prompt") and seconds == 0:
            runner = self.runners.get(name)
            if runner is not None:
                runner.keep_s, runner.expires = 0.0, self.clock.now()
                self.expire()
            return web.json_response(said | {"done_reason": "unload"})
        if "completion" not in self.models[name].get("capabilities", ["completion"]):
            return _native_error(400, f'"{name}" does not support generate')
        self.release(await self.acquire(name, seconds))
        return web.json_response(said | {"done_reason": "load"})

    # --- compatible ------------------------------------------------------------------------------------

    async def _models(self, request: web.Request) -> web.Response:
        data = [
            {"id": name, "object": "model", "created": 1787299872, "owned_by": "library"}
            for name in self.models
        ]
        return web.json_response({"object": "list", "data": data})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        try:
            asked = json.loads(await request.read())
        except ValueError as exc:
            return _error(400, "invalid_request_error", str(exc))
        if not isinstance(asked, dict):
            return _error(400, "invalid_request_error", "json: cannot unmarshal into Go value")
        if not asked.get("messages"):
            return _error(400, "invalid_request_error", "[] is too short - 'messages'")
        name = asked.get("model", "")
        if not isinstance(name, str):
            return _error(400, "invalid_request_error", "json: cannot unmarshal into Go struct field")
        if name not in self.models:
            return _error(404, "not_found_error", f'model "{name}" not found, try pulling it first')
        if "completion" not in self.models[name].get("capabilities", ["completion"]):
            return _error(400, "invalid_request_error", f'"{name}" does not support chat')
        runner = await self.acquire(name, None)  # keep_alive is no member of this endpoint
        try:
            if asked.get("stream"):
                return await self._stream(request, asked)
            return await self._whole(asked)
        finally:
            self.release(runner)

    async def _tokens(self, index: int) -> None:
        if self.token_s:
            await asyncio.sleep(self.token_s)
        if index >= self.gate_at:
            await self.pass_gate()

    async def _whole(self, asked: dict[str, Any]) -> web.Response:
        for index in range(len(self.words)):
            await self._tokens(index)
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self.words)}
        reason = "stop"
        if asked.get("tools"):
            message |= {"content": "", "tool_calls": [_tool_call()]}
            reason = "tool_calls"
        body = {
            "id": "chatcmpl-407",
            "object": "chat.completion",
            "created": 1787299872,
            "model": asked["model"],
            "system_fingerprint": "fp_ollama",
            "choices": [{"index": 0, "message": message, "finish_reason": reason}],
            "usage": _usage(len(self.words)),
        }
        return web.json_response(body)

    @staticmethod
    def head(model: str) -> dict[str, Any]:
        """What every chunk of a stream begins with."""
        return {
            "id": "chatcmpl-407",
            "object": "chat.completion.chunk",
            "created": 1787299872,
            "model": model,
            "system_fingerprint": "fp_ollama",
        }

    def chunk(self, model: str, delta: dict[str, Any], reason: str | None = None) -> bytes:
        """One event of a stream."""
        choices = [{"index": 0, "delta": delta, "finish_reason": reason}]
        return _event(self.head(model) | {"choices": choices})

    async def _stream(self, request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        model = asked["model"]
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        reason = "tool_calls" if asked.get("tools") else "stop"
        deltas: list[dict[str, Any]] = [{"content": word} for word in self.words]
        if asked.get("tools"):
            deltas = [{"content": "", "tool_calls": [_tool_call()]}]
        for index, delta in enumerate(deltas):
            await self._tokens(index)
            if self.die_after is not None and index >= self.die_after:
                await response.write(self.chunk(model, {"content": ""}))
                return response
            if index == 0:
                delta = {"role": "assistant"} | delta
            last = self.finish_in_content and index == len(deltas) - 1
            await response.write(self.chunk(model, delta, reason if last else None))
        if not self.finish_in_content:
            await response.write(self.chunk(model, {}, reason))
        await asyncio.wait_for(self.pause_before_done.wait(), BOUND_S)
        if self.done_after_s:
            await asyncio.sleep(self.done_after_s)
        if self.break_off:
            if self.break_off == "reset" and request.transport is not None:
                await asyncio.sleep(0.02)  # what was written is on its way
                reset(request.transport)
            return response
        if (asked.get("stream_options") or {}).get("include_usage"):
            usage = {"choices": [], "usage": _usage(len(deltas))}
            await response.write(_event(self.head(model) | usage))
        await response.write(b"data: [DONE]\n\n")
        return response

    def half_answer(self, request: web.Request) -> tuple[str, bytes]:
        body = request[CALL].body
        if b'"stream": true' in body or b'"stream":true' in body:
            return "text/event-stream", self.chunk("m", {"role": "assistant", "content": "Hal"})
        return "application/json", b'{"id": "chatcmpl-407", "object": "chat.comple'


def _event(value: Any) -> bytes:
    return b"data: " + json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def _usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": 9, "completion_tokens": tokens, "total_tokens": 9 + tokens}


def _tool_call() -> dict[str, Any]:
    function = {"name": "weather", "arguments": '{"city":"Bern"}'}
    return {"id": "call_1", "index": 0, "type": "function", "function": function}


def _native_error(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)


def _error(status: int, kind: str, message: str) -> web.Response:
    error = {"message": message, "type": kind, "param": None, "code": None}
    return web.json_response({"error": error}, status=status)


def main() -> None:
    """`python -m tests.doubles.ollama --port N [--token-s S]`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token-s", type=float, default=0.0)
    parser.add_argument("--tokens", type=int, default=0)
    arguments = parser.parse_args()

    async def run() -> None:
        double = Ollama(real_clock=True)
        double.token_s = arguments.token_s
        if arguments.tokens:
            double.words = tuple(f" w{index}" for index in range(arguments.tokens))
        await serve(double, arguments.port)

    asyncio.run(run())


if __name__ == "__main__":
    main()
