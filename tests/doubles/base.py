"""What both doubles share: a real aiohttp server, its bad days on demand, and a record of its calls.

In process: `async with Ollama() as double:` and its attributes. As a process of its own:
`python -m tests.doubles.ollama --port N`; the same switches are then reached over HTTP:

    POST   /_double/faults   {"path": ..., "do": ..., "status"?, "times"?, "after"?, "body"?}
    DELETE /_double/faults
    POST   /_double/clock    {"advance": seconds}
    POST   /_double/gate     {"open": true | false}
    GET    /_double/calls    what was asked, and how each call ended
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from attrs import Factory, define

BOUND_S = 60.0
"""No wait of a double is longer: a forgotten gate must not hang a test for ever."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@define
class Bad:
    """One bad day of one path.

    `do`: hang (no answer), reset (RST before the headers), close (FIN before the headers), garbage
    (bytes that are not HTTP), status (this `status` with `body`), stall (headers and `after` bytes,
    then nothing), cut (the same, then RST), end (the same, then a clean end of the body),
    slow (wait for `seconds`, then answer as usual). `times` calls suffer it; -1: all.
    """

    path: str
    do: str
    status: int = 500
    times: int = -1
    after: int = 0
    seconds: float = 0.0
    body: str = '{"error": {"message": "made up"}}'
    headers: dict[str, str] = Factory(dict)


@define
class Call:
    """One request as it came, and how it ended: "", "done", "cut" (the caller left), "bad"."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    ended: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


CALL = web.RequestKey("call", Call)


class Clock:
    """Seconds that pass only when told to, unless `real`."""

    def __init__(self, real: bool = False) -> None:
        self.offset = 1_800_000_000.0
        self.real = real

    def now(self) -> float:
        return self.offset + (asyncio.get_running_loop().time() if self.real else 0.0)

    def advance(self, seconds: float) -> None:
        self.offset += seconds


class Double:
    """A server on loopback. Subclasses add routes and fill `routes()`."""

    def __init__(self, real_clock: bool = False) -> None:
        self.bad: list[Bad] = []
        self.calls: list[Call] = []
        self.clock = Clock(real_clock)
        self.gate = asyncio.Event()
        self.gate.set()
        self.changed = asyncio.Condition()
        self.port = 0
        self._runner: web.AppRunner | None = None

    def routes(self) -> list[web.RouteDef]:
        raise NotImplementedError

    # --- life -----------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._middleware], client_max_size=256 * 1024 * 1024)
        app.add_routes(
            [
                web.post("/_double/faults", self._set_bad),
                web.delete("/_double/faults", self._clear_bad),
                web.post("/_double/clock", self._advance),
                web.post("/_double/gate", self._set_gate),
                web.get("/_double/calls", self._tell_calls),
                *self.routes(),
            ]
        )
        return app

    async def start(self, port: int = 0) -> None:
        self._runner = web.AppRunner(
            self.app(), handler_cancellation=True, access_log=None, shutdown_timeout=0.1
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            self.gate.set()
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Any:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    # --- what a test asks ------------------------------------------------------------------------------

    def fail(self, path: str, do: str, **how: Any) -> None:
        """From now on `path` has a bad day."""
        self.bad.append(Bad(path, do, **how))

    def heal(self) -> None:
        self.bad.clear()

    def called(self, path: str) -> list[Call]:
        """The calls of one path (without query), oldest first."""
        return [call for call in self.calls if call.path.partition("?")[0] == path]

    async def until(self, holds: Callable[[], bool], bound_s: float = 10.0) -> None:
        """Wait until `holds()`; looked at whenever a call comes or ends."""
        async with self.changed:
            await asyncio.wait_for(self.changed.wait_for(holds), bound_s)

    async def told(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def pass_gate(self) -> None:
        """Wait until the gate is open."""
        await asyncio.wait_for(self.gate.wait(), BOUND_S)

    # --- bad days --------------------------------------------------------------------------------------

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/_double/"):
            return await handler(request)
        call = Call(request.method, request.raw_path, dict(request.headers), await request.read())
        self.calls.append(call)
        request[CALL] = call
        await self.told()
        try:
            for bad in self.bad:
                if bad.path == request.path and bad.times != 0:
                    bad.times -= 1
                    call.ended = "bad"
                    response = await self._suffer(request, bad, handler)
                    break
            else:
                response = await handler(request)
                call.ended = "done"
            return response
        except (asyncio.CancelledError, ConnectionError):
            call.ended = "cut"
            raise
        finally:
            await self.told()

    async def _suffer(self, request: web.Request, bad: Bad, handler: Handler) -> web.StreamResponse:
        transport = request.transport
        assert transport is not None
        match bad.do:
            case "hang":
                await asyncio.wait_for(asyncio.Event().wait(), BOUND_S)
                raise AssertionError("nobody sets it")
            case "slow":
                await asyncio.sleep(bad.seconds)
                return await handler(request)
            case "status":
                return web.Response(
                    status=bad.status,
                    body=bad.body.encode(),
                    content_type="application/json",
                    headers=bad.headers,
                )
            case "reset":
                reset(transport)
                return web.Response()
            case "close":
                transport.close()
                return web.Response()
            case "garbage":
                transport.write(b"\x00\x01this is not the protocol\r\n\r\n" * 4)
                transport.close()
                return web.Response()
            case "stall" | "cut" | "end":
                return await self._half(request, bad)
            case _:
                raise ValueError(f"no such bad day: {bad.do}")

    async def _half(self, request: web.Request, bad: Bad) -> web.StreamResponse:
        """Headers and the beginning of a body as this path would send it, then the bad end."""
        content_type, body = self.half_answer(request)
        response = web.StreamResponse(headers={"Content-Type": content_type})
        await response.prepare(request)
        await response.write(body[: bad.after or len(body)])
        assert request.transport is not None
        if bad.do == "stall":
            await asyncio.wait_for(asyncio.Event().wait(), BOUND_S)
        if bad.do == "cut":
            # What was written is on its way before the reset discards nothing but our own buffer.
            await asyncio.sleep(0.02)
            reset(request.transport)
        return response

    def half_answer(self, request: web.Request) -> tuple[str, bytes]:
        """Content type and the first part of an answer that will not be finished."""
        raise NotImplementedError

    # --- the same over HTTP ----------------------------------------------------------------------------

    async def _set_bad(self, request: web.Request) -> web.Response:
        how = await request.json()
        self.fail(how.pop("path"), how.pop("do"), **how)
        return web.json_response({"bad": len(self.bad)})

    async def _clear_bad(self, request: web.Request) -> web.Response:
        self.heal()
        return web.json_response({"bad": 0})

    async def _advance(self, request: web.Request) -> web.Response:
        self.clock.advance((await request.json())["advance"])
        return web.json_response({"now": self.clock.now()})

    async def _set_gate(self, request: web.Request) -> web.Response:
        opened = (await request.json())["open"]
        if opened:
            self.gate.set()
        else:
            self.gate.clear()
        return web.json_response({"open": opened})

    async def _tell_calls(self, request: web.Request) -> web.Response:
        return web.json_response(
            [
                {
                    "method": call.method,
                    "path": call.path,
                    "headers": call.headers,
                    "body": base64.b64encode(call.body).decode(),
                    "ended": call.ended,
                }
                for call in self.calls
            ]
        )


def reset(transport: asyncio.Transport) -> None:
    """End a connection by RST, so that the other side sees a reset and not an end."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def serve(double: Double, port: int) -> None:
    """Run a double until it is killed; says its address on stdout."""
    await double.start(port)
    print(json.dumps({"url": double.url}), flush=True)  # noqa: T201 - the parent reads it
    await asyncio.Event().wait()
