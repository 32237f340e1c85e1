"""A plain HTTP client over the standard library: it adds nothing and hides nothing."""

from __future__ import annotations

import http.client
import json
import socket
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.support.checked import check

BOUND_S = 30.0
"""Seconds after which a test that waits has failed."""
PATH = "/v1/audio/transcriptions"
TRANSLATIONS = "/v1/audio/translations"
FORM = "multipart/form-data; boundary=xBOUNDx"
KINDS = {"network": 503, "malformed": 400, "overflow": 413, "cancelled": 499, "unknown": 500}

Headers = Mapping[str, str]


class Answer:
    """What came back. `complete` is false where the connection ended before the answer did."""

    def __init__(self, response: http.client.HTTPResponse, body: bytes, complete: bool = True) -> None:
        self.status = response.status
        self.all_headers = response.getheaders()
        self.headers = {name.lower(): value for name, value in self.all_headers}
        self.body = body
        self.complete = complete

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = self.json["error"]
        return error

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of a whole stream; comments are not events."""
        blocks = self.text.split("\n\n")
        assert blocks.pop() == "", "the last event ends with a blank line"
        return [event_of(block) for block in blocks if not block.startswith(":")]


def event_of(block: str) -> dict[str, Any]:
    """One event: exactly one `data:` line, and its data an object."""
    assert block.startswith("data: ")
    assert "\n" not in block
    event: dict[str, Any] = json.loads(block.removeprefix("data: "))
    return event


class Call:
    """A request that was sent, whose answer is still to come; it is compared with the reference."""

    def __init__(self, connection: http.client.HTTPConnection, method: str, path: str) -> None:
        self.connection = connection
        self.method = method
        self.path = path
        self._begun = False
        self._response: http.client.HTTPResponse | None = None

    @property
    def response(self) -> http.client.HTTPResponse:
        """The head of the answer, waited for."""
        if self._response is None:
            self._response = self.connection.getresponse()
        return self._response

    def answer(self) -> Answer:
        """The (rest of the) answer; closes the connection."""
        try:
            response = self.response
            try:
                answer = Answer(response, response.read())
            except (http.client.IncompleteRead, ConnectionError) as exc:
                answer = Answer(response, getattr(exc, "partial", b""), complete=False)
        finally:
            self.close()
        if not self._begun:  # else what is left need not begin with an event
            check(self.method, self.path, answer.status, answer.headers, answer.body, answer.complete)
        return answer

    def events(self) -> Iterator[dict[str, Any]]:
        """The events, each as soon as it is there."""
        self._begun = True
        while line := self.response.readline():
            if line.startswith(b"data: "):
                assert self.response.readline() == b"\n"
                headers = {name.lower(): value for name, value in self.response.getheaders()}
                check(self.method, self.path, self.response.status, headers, line + b"\n")
                yield event_of(line.decode().rstrip("\n"))

    def close(self) -> None:
        """FIN."""
        if self._response is not None:
            self._response.close()
        self.connection.close()

    def reset(self) -> None:
        """RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def half_close(self) -> None:
        """FIN, but still reading."""
        self._socket.shutdown(socket.SHUT_WR)

    @property
    def _socket(self) -> socket.socket:
        sock = self.connection.sock
        assert isinstance(sock, socket.socket)
        return sock


class Client:
    """Speaks to one server, a connection per call."""

    def __init__(self, port: int, host: str = "127.0.0.1", bound_s: float = BOUND_S) -> None:
        self.host = host
        self.port = port
        self.bound_s = bound_s

    def begin(self, method: str, path: str, body: Any = None, headers: Headers | None = None) -> Call:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=self.bound_s)
        try:
            connection.request(method, path, body, dict(headers or {}))
        except BaseException:
            connection.close()
            raise
        return Call(connection, method, path)

    def ask(self, method: str, path: str, body: Any = None, headers: Headers | None = None) -> Answer:
        return self.begin(method, path, body, headers).answer()

    def get(self, path: str, headers: Headers | None = None) -> Answer:
        return self.ask("GET", path, headers=headers)

    def send(
        self,
        audio: Path | bytes | None,
        /,
        *,
        path: str = PATH,
        headers: Headers | None = None,
        name: str = "speech.wav",
        **fields: str,
    ) -> Call:
        """A transcription, sent; `audio` of None leaves the file out."""
        body = form(audio, name, fields)
        return self.begin("POST", path, body, {"Content-Type": FORM, **(headers or {})})

    def transcribe(self, audio: Path | bytes | None, /, **how: Any) -> Answer:
        return self.send(audio, **how).answer()


def form(audio: Path | bytes | None, name: str, fields: Headers) -> bytes:
    """The body: the texts, then the file."""
    parts = [
        f'--xBOUNDx\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields.items()
    ]
    if audio is not None:
        content = audio.read_bytes() if isinstance(audio, Path) else audio
        head = f'--xBOUNDx\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        parts += [head.encode(), b"Content-Type: application/octet-stream\r\n\r\n", content, b"\r\n"]
    return b"".join((*parts, b"--xBOUNDx--\r\n"))


def acts(*script: dict[str, Any]) -> bytes:
    """A script of the fake engines, in place of audio."""
    return json.dumps(script).encode()


def deltas(events: list[dict[str, Any]]) -> str:
    return "".join(event["delta"] for event in events if event["type"] == "transcript.text.delta")


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("transcript.text.") for event in events]
