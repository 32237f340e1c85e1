"""What every relay shares: the client session, one upstream's calls, and how its failures read.

The table of failures: refused, connect timeout or reset before the headers is 503
`backend_unreachable`; a read timeout is 503 `upstream_timeout`; bytes that are not HTTP and an
upstream's own 500, 502, 504 are 500 `upstream_error`; 413 stays; 429 and 503 are 503
`upstream_busy`; any other 4xx is 400. The upstream's members of its error object are kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import ipaddress
import json
from collections.abc import AsyncGenerator, Coroutine, Mapping
from typing import Any

import aiohttp
import structlog
from attrs import field, frozen
from yarl import URL

from aistack.chunks import Head, Piece, Tail
from aistack.errors import BackendFault, Code, Fault

log = structlog.get_logger("aistack.relay")

READ_S = 600.0
"""Give up an upstream that sends no byte for this long (a cold start takes 60 to 150 s)."""
ERROR_BYTES = 64 * 1024
"""Read at most this much of an upstream's error body."""
MESSAGE_CHARS = 2000
BLOCK_BYTES = 1024 * 1024
"""A longer body is written in blocks: in one piece it would stop the loop."""
DRAIN_S = 5.0
"""How long what follows the end of an answer may keep its connection."""
KEEP_S = 4.0
"""Idle connections are dropped before uvicorn's 5 s, so that none is used as it closes."""


@frozen
class Settings:
    """One upstream: where it is, what a consumer calls it, and what to do if it is down.

    `connect_s` and `read_s` are seconds; `hint` is a sentence for the 503.
    """

    url: str
    provider: str
    hint: str
    connect_s: float = 5.0
    read_s: float = READ_S
    url_object: URL = field(init=False)
    base: str = field(init=False)
    timeout: aiohttp.ClientTimeout = field(init=False)

    @url_object.default
    def _parsed(self) -> URL:
        return URL(self.url.rstrip("/"))

    @base.default
    def _base(self) -> str:
        return str(self.url_object)

    @timeout.default
    def _timeout(self) -> aiohttp.ClientTimeout:
        return self.timeout_of(self.read_s)

    def timeout_of(self, read_s: float) -> aiohttp.ClientTimeout:
        """Each silence is bounded by `read_s`."""
        connect_s = min(self.connect_s, read_s)
        return aiohttp.ClientTimeout(total=None, sock_connect=connect_s, sock_read=read_s)

    @property
    def public_url(self) -> str:
        """The address for people: without a user and a password."""
        return str(self.url_object.with_user(None)) if self.url_object.user else self.url

    @property
    def is_loopback(self) -> bool:
        """Whether the upstream runs on this machine, as far as its address tells."""
        host = self.url_object.host or ""
        if host == "localhost":
            return True
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(host).is_loopback
        return False


class Sessions:
    """The one client session, made when first needed (it belongs to a running loop)."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._aside: set[asyncio.Task[None]] = set()

    def get(self) -> aiohttp.ClientSession:
        """The session; no limit on connections, no cookies, bytes as they come."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_S),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=("User-Agent", "Accept", "Content-Type"),
                trust_env=False,
            )
        return self._session

    def aside(self, work: Coroutine[Any, Any, None]) -> None:
        """Work that nobody waits for; it ends with the session."""
        task = asyncio.get_running_loop().create_task(work)
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)

    async def close(self) -> None:
        """End what is under way and close every connection."""
        for task in self._aside:
            task.cancel()
        await asyncio.gather(*self._aside, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None


class Upstream:
    """Calls to one upstream. Every failure is a BackendFault that names it."""

    def __init__(self, settings: Settings, sessions: Sessions) -> None:
        self.settings = settings
        self.sessions = sessions

    # --- calls -----

    async def open(
        self,
        method: str,
        path_qs: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        limit_s: float | None = None,
        again: bool = False,
    ) -> aiohttp.ClientResponse:
        """The answer once its head is there, whatever its status. The caller closes or releases it.

        `path_qs` is sent as it is. `limit_s` bounds each silence instead of the long read timeout.
        `again`: the call does no harm if made twice, so that an idle connection which the upstream
        had just closed costs nothing. Raises BackendFault.
        """
        timeout = self.settings.timeout if limit_s is None else self.settings.timeout_of(limit_s)
        url = URL(self.settings.base + path_qs, encoded=True)
        large = isinstance(body, bytes) and len(body) > BLOCK_BYTES
        try:
            return await self.sessions.get().request(
                method,
                url,
                data=io.BytesIO(body) if large else body,
                headers={"Accept-Encoding": "identity", **(headers or {})},
                timeout=timeout,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            if again and hung_up(exc):
                return await self.open(method, path_qs, body, headers, limit_s)
            raise BackendFault(self.fault_of(exc, begun=False)) from exc

    async def json(
        self, method: str, path_qs: str, value: Any = None, limit_s: float | None = None
    ) -> tuple[int, Any]:
        """Status and JSON body (None if it is not JSON) of a small call. Raises BackendFault."""
        body = None if value is None else json.dumps(value).encode()
        headers = {} if value is None else {"Content-Type": "application/json"}
        response = await self.open(method, path_qs, body, headers, limit_s, again=True)
        try:
            data = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            raise BackendFault(self.fault_of(exc, begun=True)) from exc
        finally:
            response.release() if response.content.at_eof() else response.close()
        try:
            return response.status, json.loads(data)
        except (ValueError, RecursionError):
            return response.status, None

    async def checked(self, response: aiohttp.ClientResponse) -> aiohttp.ClientResponse:
        """The same answer if it is a 2xx. Raises BackendFault with the upstream's own words."""
        if 200 <= response.status < 300:
            return response
        data = b""
        try:
            async with asyncio.timeout(DRAIN_S):
                while len(data) < ERROR_BYTES and (more := await response.content.readany()):
                    data += more
        except (aiohttp.ClientError, TimeoutError, OSError):
            log.warning("upstream's error answer broke off", provider=self.settings.provider)
        finally:
            response.release() if response.content.at_eof() else response.close()
        raise BackendFault(self.error_fault(response.status, data, response.method == "POST"))

    async def drain(self, response: aiohttp.ClientResponse) -> None:
        """Read what follows the end of an answer, so that its connection can be used again."""
        try:
            async with asyncio.timeout(DRAIN_S):
                while await response.content.readany():
                    pass
            response.release()
        except (aiohttp.ClientError, TimeoutError, OSError):
            response.close()
        except asyncio.CancelledError:
            response.close()
            raise

    # --- relaying -----

    def head(self, response: aiohttp.ClientResponse) -> Head:
        """Status and headers as they came, every repetition kept."""
        headers = tuple(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in response.raw_headers
        )
        return Head(response.status, headers)

    async def read(self, response: aiohttp.ClientResponse) -> bytes:
        """The next bytes, empty at the end. Raises BackendFault."""
        try:
            return await response.content.readany()
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            raise BackendFault(self.fault_of(exc, begun=True)) from exc

    async def pieces(self, response: aiohttp.ClientResponse) -> AsyncGenerator[Piece | Tail, None]:
        """The body as it comes; the piece after which there is no more is the Tail."""
        while data := await self.read(response):
            if response.content.at_eof():
                yield Tail(data)
                return
            yield Piece(data)
        yield Tail()

    # --- failures -----

    def fault_of(self, exc: BaseException, begun: bool) -> Fault:
        """How a transport failure reads; `begun`: the upstream's head had come."""
        provider, hint = self.settings.provider, self.settings.hint
        if isinstance(exc, TimeoutError) and not isinstance(exc, aiohttp.ConnectionTimeoutError):
            return Fault(
                Code.UPSTREAM_TIMEOUT,
                f"{provider} did not respond in time.",
                provider,
            )
        reached = begun or isinstance(exc, aiohttp.ClientResponseError | aiohttp.InvalidURL)
        if not reached and isinstance(exc, aiohttp.ClientConnectionError | OSError | TimeoutError):
            return Fault(
                Code.BACKEND_UNREACHABLE,
                f"{provider} cannot be reached at {self.settings.public_url}. {hint}",
                provider,
            )
        if begun:
            message = f"{provider} closed the connection in the middle of its answer."
        else:
            message = f"{provider} returned something that is not a valid HTTP response."
        return Fault(Code.UPSTREAM_ERROR, message, provider)

    def error_fault(self, status: int, data: bytes, asks_model: bool = True) -> Fault:
        """How an error answer of the upstream reads. `asks_model`: the call names a model, so that a
        404 can be about it, and not about a voice whose name has the word "model" in it."""
        provider = self.settings.provider
        members = error_members(data)
        text = members.get("message")
        message = text[:MESSAGE_CHARS] if isinstance(text, str) and text.strip() else ""
        param = members.get("param")
        extra = {**members, "upstream": upstream_members(status, members)}
        code = Code.UPSTREAM_ERROR
        if status == 413:
            code = Code.TOO_LARGE
        elif status in (429, 503):
            code = Code.UPSTREAM_BUSY
        elif 400 <= status < 500:
            code = Code.UPSTREAM_REJECTED
            about_model = asks_model and status == 404
            if about_model and (param == "model" or "model" in message.lower()):
                code, param = Code.MODEL_NOT_FOUND, "model"
        return Fault(
            code,
            message or f"{provider} answered with status {status}.",
            provider,
            param if isinstance(param, str) else None,
            extra,
        )


def hung_up(exc: BaseException) -> bool:
    """Whether an established connection was closed on us before the head came."""
    if isinstance(exc, aiohttp.ClientOSError):
        return not isinstance(exc, aiohttp.ClientConnectorError)
    return isinstance(exc, aiohttp.ServerDisconnectedError)


def error_members(data: bytes) -> dict[str, Any]:
    """The members of an upstream's error object; a bare string counts as its message."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    error = value.get("error", value.get("detail", value.get("message")))
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else {}


def upstream_members(status: int, members: Mapping[str, Any]) -> dict[str, Any]:
    """What our own members of the same names would hide: the upstream's status, type and code."""
    hidden = {name: members[name] for name in ("type", "code", "param") if members.get(name) is not None}
    return {"status": status, **hidden}
