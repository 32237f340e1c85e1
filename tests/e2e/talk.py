"""A client of bytes: it can send half a request, leave in every way there is, and read answers."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import struct
from typing import Any

from attrs import frozen

from tests.doubles.web import a_file, multipart, named, post
from tests.support.checked import check

PATH = "/v1/audio/transcriptions"
BOUND_S = 30.0
"""Seconds after which a test that waits has failed."""
_RESET = struct.pack("ii", 1, 0)


@frozen
class Said:
    """An answer, read to its end. `complete` is false for one that was cut."""

    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool = True

    @property
    def error(self) -> dict[str, Any]:
        """The inner object of the envelope, after a look at its shape."""
        envelope = json.loads(self.body)
        assert set(envelope) == {"error"}
        error: dict[str, Any] = envelope["error"]
        assert {"kind", "provider", "message", "type", "code", "param"} <= set(error)
        assert "Traceback" not in error["message"]
        return error

    @property
    def told(self) -> tuple[int, str, str]:
        """Status, kind and code: what a failure looks like to a machine."""
        return self.status, self.error["kind"], self.error["code"]

    @property
    def events(self) -> list[dict[str, Any]]:
        return events(self.body)

    @property
    def text(self) -> str:
        return str(json.loads(self.body)["text"])


def events(body: bytes) -> list[dict[str, Any]]:
    """The server-sent events in a body, comments left out."""
    blocks = body.decode().split("\n\n")
    return [json.loads(block[6:]) for block in blocks if block.startswith("data: ")]


class Talk:
    """One connection."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=BOUND_S)
        self._response: http.client.HTTPResponse | None = None

    def send(self, data: bytes) -> Talk:
        self.sock.sendall(data)
        return self

    # --- ways to leave ---------------------------------------------------------------------------------

    def close(self) -> None:
        """FIN."""
        self._let_go()
        self.sock.close()

    def reset(self) -> None:
        """RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.close()

    def half_close(self) -> None:
        """FIN, but still reading."""
        self.sock.shutdown(socket.SHUT_WR)

    def _let_go(self) -> None:
        """A response holds the socket open: close() alone would send nothing."""
        if self._response is not None:
            self._response.close()

    # --- reading ---------------------------------------------------------------------------------------

    def head(self) -> http.client.HTTPResponse:
        """The status line and the headers; the body is read from what is returned."""
        self._response = http.client.HTTPResponse(self.sock)
        self._response.begin()
        return self._response

    def event(self) -> dict[str, Any]:
        """The next event of a stream whose headers were read."""
        assert self._response is not None
        while line := self._response.readline():
            if line.startswith(b"data: "):
                event: dict[str, Any] = json.loads(line[6:])
                return event
        raise AssertionError("the stream ended")

    def rest(self) -> tuple[bytes, bool]:
        """The rest of the body, and whether it was complete."""
        assert self._response is not None
        try:
            return self._response.read(), True
        except http.client.IncompleteRead as cut:
            return cut.partial, False
        except ConnectionError:
            return b"", False

    def reply(self) -> Said:
        response = self.head()
        body, complete = self.rest()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Said(response.status, headers, body, complete)

    def leftover(self) -> bytes:
        """Everything until the server closes, unparsed; a reset counts as the end."""
        data = b""
        with contextlib.suppress(ConnectionError):
            while piece := self.sock.recv(65536):
                data += piece
        return data


def say(port: int, request: bytes) -> Said:
    """One request on its own connection."""
    talk = Talk(port)
    try:
        said = talk.send(request).reply()
    finally:
        talk.close()
    method, target, *_ = (request.decode("latin-1").split("\r\n", 1)[0] + "  ").split(" ")
    check(method, target, said.status, said.headers, said.body, said.complete)
    return said


def transcribe(audio: bytes, headers: dict[str, str] | None = None, **fields: str) -> bytes:
    """A transcription request."""
    parts = [(named(name), value.encode()) for name, value in fields.items()]
    return post(PATH, multipart(*parts, a_file(audio)), **(headers or {}))


def script(*acts: dict[str, Any], headers: dict[str, str] | None = None, **fields: str) -> bytes:
    """A request whose "audio" tells the fake engine what to do."""
    return transcribe(json.dumps(acts).encode(), headers, **{"model": "fake-small", **fields})


WAIT = {"Prefer": "wait=30"}
SAY = ({"say": "one two", "start": 0, "end": 1}, {"say": "three", "start": 1, "end": 2})
SAID = "one two three"
