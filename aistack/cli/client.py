"""A small client of our own API, for the command line: aiohttp's client and nothing else.

A busy answer is waited for, as the server asks: `Prefer: wait` puts the call into its line, and a 503
with `Retry-After` is tried again until the caller's patience is over.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from attrs import frozen

CONNECT_S = 5.0
PROBE_S = 1.0
ADMIN_S = 15.0
"""Memory of the cards is asked for within it, and a driver that hangs is waited for 5 s."""
SILENCE_S = 120.0
"""A stream that brings nothing for so long, not even a heartbeat, is dead."""
WHOLE_S = 24 * 3600.0
"""Longest a whole answer may take: the server says nothing before it is done."""
LINE_S = 300
"""What the server grants at most to a caller who stands in line."""
STREAMED = frozenset({"text", "json"})
"""Formats that can be made from the stream; the others only the server makes."""

Told = Callable[[float], None]
"""How many seconds of the audio are done."""


class Refused(Exception):
    """The server said no. The message is its own plain sentence; `busy`: it may say yes later."""

    def __init__(
        self, message: str, busy: bool = False, retry_s: float | None = None, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.busy = busy
        self.retry_s = retry_s
        self.status = status


class NotOurs(Exception):
    """Something answers there, and it does not speak our API."""


@frozen
class TranscribeOptions:
    """One transcription."""

    path: Path
    model: str = "auto"
    language: str | None = None
    format: str = "text"
    translate: bool = False

    def fields(self) -> dict[str, str]:
        """The form's fields besides the file."""
        fields = {"model": self.model, "response_format": self.format}
        if self.language:
            fields["language"] = self.language
        if self.translate:
            fields["translate"] = "true"
        if self.format in STREAMED:
            fields["stream"] = "true"
        return fields


class Client:
    """One server. `key` goes out as a bearer token if there is one."""

    def __init__(self, session: aiohttp.ClientSession, url: str, key: str | None = None) -> None:
        self._session = session
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    async def answers(self) -> bool:
        """Whether an aistack answers there."""
        try:
            timeout = aiohttp.ClientTimeout(total=PROBE_S)
            async with self._session.get(f"{self._url}/health", timeout=timeout) as response:
                health = await response.json(encoding="utf-8", content_type=None)
                return response.status == 200 and {"status", "version"} <= set(health)
        except (aiohttp.ClientError, TimeoutError, ValueError, TypeError):
            return False

    async def models(self) -> dict[str, Any]:
        """The answer of /v1/models. Raises Refused."""
        timeout = aiohttp.ClientTimeout(total=SILENCE_S)
        async with self._session.get(
            f"{self._url}/v1/models", headers=self._headers, timeout=timeout
        ) as response:
            await _accepted(response)
            listed: dict[str, Any] = await response.json(encoding="utf-8")
            return listed

    async def operators(self, name: str, query: Mapping[str, str]) -> dict[str, Any]:
        """The answer of /admin/api/`name`. Raises Refused, NotOurs, or what aiohttp raises."""
        timeout = aiohttp.ClientTimeout(total=ADMIN_S, sock_connect=CONNECT_S)
        async with self._session.get(
            f"{self._url}/admin/api/{name}", params=query, headers=self._headers, timeout=timeout
        ) as response:
            try:
                body = await response.json(encoding="utf-8", content_type=None)
            except ValueError as exc:
                raise NotOurs(self._url) from exc
            if response.status == 200 and isinstance(body, dict):
                return body
            said = refusal(body, status=response.status)
            if said.status is None or response.status == 404:
                raise NotOurs(self._url)
            raise said

    async def transcribe(self, wanted: TranscribeOptions, wait_s: float, told: Told) -> str:
        """The transcript in the wanted format. Raises Refused, or what aiohttp raises."""
        until = time.monotonic() + wait_s
        while True:
            left = max(until - time.monotonic(), 0.0)
            try:
                return await self._transcribe(wanted, left, told)
            except Refused as refused:
                left = until - time.monotonic()
                if not refused.busy or left <= 0:
                    raise
                pause = min(refused.retry_s or 1.0, left)
            await asyncio.sleep(max(pause, 0.1))

    async def _transcribe(self, wanted: TranscribeOptions, left: float, told: Told) -> str:
        streamed = wanted.format in STREAMED
        headers = dict(self._headers)
        if left > 0:
            headers["Prefer"] = f"wait={min(math.ceil(left), LINE_S)}"
        timeout = aiohttp.ClientTimeout(
            total=None if streamed else WHOLE_S,
            sock_connect=CONNECT_S,
            sock_read=SILENCE_S + left if streamed else None,
        )
        with wanted.path.open("rb") as file:
            form = aiohttp.FormData(wanted.fields())
            form.add_field("file", file, filename=wanted.path.name)
            async with self._session.post(
                f"{self._url}/v1/audio/transcriptions", data=form, headers=headers, timeout=timeout
            ) as response:
                await _accepted(response)
                if not streamed:
                    return await response.text("utf-8")
                return await self._read_stream(response, wanted, told)

    async def _read_stream(
        self, response: aiohttp.ClientResponse, wanted: TranscribeOptions, told: Told
    ) -> str:
        deltas: list[str] = []
        async for event in events(response.content.iter_any()):
            match event.get("type"):
                case "transcript.text.delta":
                    deltas.append(str(event.get("delta", "")))
                    told(float(event.get("segment", {}).get("end", 0.0)))
                case "transcript.text.done":
                    text = str(event.get("text", "".join(deltas)))
                    return (
                        json.dumps({"text": text}, ensure_ascii=False)
                        if wanted.format == "json"
                        else text
                    )
                case "error":
                    raise refusal(event)
                case _:
                    pass  # a warning, or an event of a newer server
        raise Refused("The server's answer broke off before its end.")


async def events(chunks: AsyncIterator[bytes]) -> AsyncIterator[Mapping[str, Any]]:
    """The JSON objects of a stream of server-sent events, however the bytes are cut."""
    buffer = bytearray()
    seen = 0
    async for chunk in chunks:
        buffer += chunk
        while (end := buffer.find(b"\n\n", max(seen - 1, 0))) >= 0:
            block = bytes(buffer[:end])
            del buffer[: end + 2]
            seen = 0
            for line in block.split(b"\n"):
                if line.startswith(b"data:"):
                    yield json.loads(line[5:])
        seen = len(buffer)


async def _accepted(response: aiohttp.ClientResponse) -> None:
    """Raises Refused with the envelope's sentence for anything but 200."""
    if response.status == 200:
        return
    try:
        body = await response.json(encoding="utf-8", content_type=None)
    except (ValueError, aiohttp.ClientError):
        body = None
    fallback = f"The server answered {response.status}."
    after = response.headers.get("Retry-After", "")
    retry_s = float(after) if after.isascii() and after.isdigit() else None
    raise refusal(body, fallback, busy=response.status == 503 and retry_s is not None, retry_s=retry_s)


def refusal(
    body: Any,
    fallback: str = "The server reported a failure.",
    busy: bool = False,
    retry_s: float | None = None,
    status: int | None = None,
) -> Refused:
    """What an error envelope says, or the fallback, without a status, if it is none."""
    error = body.get("error") if isinstance(body, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    if isinstance(message, str) and message:
        return Refused(message, busy, retry_s, status)
    return Refused(fallback, busy, retry_s)
