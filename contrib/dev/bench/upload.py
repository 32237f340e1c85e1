"""(g) a 1 GiB upload: how much the gateway grows, and its speed against a bare aiohttp reader."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import sys
import threading
import time

import psutil

from contrib.dev.bench.harness import (
    BOUNDARY,
    HEADERS,
    ROOT,
    Row,
    free_port,
    median,
    serving,
    wait_healthy,
)

GIB = 1024**3
SLACK = 4096
BLOCK = b"\0" * (1024 * 1024)


def send(port: int, size: int) -> tuple[int, float]:
    """Upload `size` bytes of zeros; status and seconds."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="model"\r\n\r\n{"tiny-digits"}\r\n'
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.raw"\r\n\r\n'
    ).encode()
    tail = f"\r\n--{BOUNDARY}--\r\n".encode()
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=300)) as connection:
        begin = time.perf_counter()
        connection.putrequest("POST", "/v1/audio/transcriptions")
        for name, value in HEADERS.items():
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(head) + size + len(tail)))
        connection.endheaders()
        connection.send(head)
        left = size
        while left:
            block = BLOCK[: min(left, len(BLOCK))]
            connection.send(block)
            left -= len(block)
        connection.send(tail)
        response = connection.getresponse()
        response.read()
        return response.status, time.perf_counter() - begin


class Peak(threading.Thread):
    """The largest resident size of a process while this runs, in bytes."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.process = psutil.Process(pid)
        self.before = self.peak = self.process.memory_info().rss
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.wait(0.01):
            self.peak = max(self.peak, self.process.memory_info().rss)


def run(quick: bool) -> list[Row]:
    """Pairs of uploads, to the gateway and to the bare reader. Zeros are no audio: 400."""
    size = GIB // 8 if quick else GIB - SLACK
    count = 2 if quick else 5
    port = free_port()
    bare = subprocess.Popen([sys.executable, "-m", "contrib.dev.bench.bare", str(port)], cwd=ROOT)
    try:
        wait_healthy(port)
        with serving() as server:
            send(server.port, 1024)
            send(port, 1024)
            growth, ours, theirs = 0, [], []
            for _ in range(count):
                peak = Peak(server.process.pid)
                peak.start()
                status, took = send(server.port, size)
                peak.stop.set()
                peak.join()
                assert status == 400, status
                ours.append(took)
                growth = max(growth, peak.peak - peak.before)
                theirs.append(send(port, size)[1])
    finally:
        bare.terminate()
        bare.wait(10)
    speed = median([b / a for a, b in zip(ours, theirs, strict=True)])
    return [
        Row(
            f"(g) upload of {size / GIB:.2f} GiB, {count} pairs",
            f"{size / median(ours) / 1e6:.0f} MB/s",
            f"{size / median(theirs) / 1e6:.0f} MB/s bare aiohttp reader",
            speed,
            ">= 0.8",
            speed >= 0.8,
        ),
        Row("(g) growth of the gateway", f"{growth / 1e6:.1f} MB", "", None, "<= 32 MB", growth <= 32e6),
    ]
