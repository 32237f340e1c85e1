"""(d) how fast a busy refusal is, (f) from a client that leaves to a slot that is free."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator

from contrib.dev.bench.harness import (
    AUDIO,
    BOUNDARY,
    HEADERS,
    Row,
    Server,
    median,
    multipart,
    percentile,
    repeated,
    serving,
)


def raw_request(body: bytes) -> bytes:
    head = (
        "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@contextlib.contextmanager
def streaming(server: Server, body: bytes, until: bytes) -> Iterator[socket.socket]:
    """A streamed request that has shown `until`; the socket is closed by the caller or at the end."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=120) as client:
        client.sendall(raw_request(body))
        seen = b""
        while until not in seen:
            data = client.recv(65536)
            assert data, seen
            seen += data
        yield client


def refusals(server: Server, count: int) -> list[float]:
    """Milliseconds of refused calls with a body of 100 kB, on one warm connection."""
    body = multipart(b"\0" * 99_000, model="tiny-digits")
    took = []
    with contextlib.closing(server.connection()) as connection:
        for _ in range(count):
            begin = time.perf_counter()
            connection.request(
                "POST",
                "/v1/audio/transcriptions",
                body,
                HEADERS,
            )
            response = connection.getresponse()
            response.read()
            assert response.status == 503, response.status
            took.append((time.perf_counter() - begin) * 1000)
    return took


def busy(count: int) -> Row:
    """(d): while a stream runs."""
    with serving("--fake") as server:
        script = json.dumps([{"say": "hello"}, {"hang": True}]).encode()
        body = multipart(script, model="fake-small", stream="true")
        with streaming(server, body, b"hello"):
            refusals(server, 20)
            took = refusals(server, count)
    return Row(
        f"(d) busy 503 for a 100 kB body, {count} calls",
        f"p50 {median(took):.2f} ms, p99 {percentile(took, 0.99):.2f} ms",
        "",
        None,
        "p50 <= 5 ms",
        median(took) <= 5,
    )


def until_free(server: Server, small: bytes) -> float:
    """Seconds until the next call is not refused."""
    begin = time.perf_counter()
    with contextlib.closing(server.connection()) as connection:
        while True:
            connection.request("GET", "/v1/models")
            connection.getresponse().read()
            connection.request(
                "POST",
                "/v1/audio/transcriptions",
                small,
                HEADERS,
            )
            response = connection.getresponse()
            response.read()
            if response.status != 503:
                return time.perf_counter() - begin
            time.sleep(0.002)


def cancel(count: int) -> list[Row]:
    """(f): a Whisper window, and an engine whose step takes ten seconds."""
    rows = []
    audio = repeated(AUDIO / "digits-en-long.wav", 300)
    with serving() as server:
        server.transcribe((AUDIO / "digits-en.wav").read_bytes(), model="tiny-digits")
        windows = []
        body = multipart(audio, model="tiny-digits", stream="true")
        with contextlib.closing(server.connection()) as connection:
            connection.request(
                "POST",
                "/v1/audio/transcriptions",
                body,
                HEADERS,
            )
            response = connection.getresponse()
            last = time.perf_counter()
            while line := response.readline():
                if b"text.delta" in line:
                    now = time.perf_counter()
                    windows.append(now - last)
                    last = now
        window = max(windows)
        took = []
        small = multipart(b"no audio", model="tiny-digits")
        for _ in range(count):
            with streaming(server, body, b"text.delta"):
                pass
            took.append(until_free(server, small))
    rows.append(
        Row(
            f"(f) cancel to slot free, Whisper, {count} times",
            f"median {median(took) * 1000:.0f} ms, max {max(took) * 1000:.0f} ms",
            f"{window * 1000:.0f} ms longest window",
            median(took) / window,
            "<= window + 50 ms",
            max(took) <= window + 0.050,
        )
    )
    with serving("--fake") as server:
        small = multipart(b"[]", model="fake-small")
        took = []
        for _ in range(count):
            script = json.dumps([{"say": "hello"}, {"hang": True}]).encode()
            with streaming(server, multipart(script, model="fake-small", stream="true"), b"hello"):
                pass
            took.append(until_free(server, small))
    rows.append(
        Row(
            f"(f) cancel to slot free, an engine deaf for 10 s and more, {count} times",
            f"median {median(took) * 1000:.0f} ms, max {max(took) * 1000:.0f} ms",
            "",
            None,
            "<= 1150 ms",
            max(took) <= 1.150,
        )
    )
    return rows


def run(quick: bool) -> list[Row]:
    """Both."""
    return [busy(100 if quick else 500), *cancel(3 if quick else 10)]
