"""What watching costs: the same requests to the same server with every switch on and off, in turns;
and /metrics behind ten thousand jobs.

The engine is the scripted one, so that a request costs next to nothing and watching shows as much as
it ever can. CPU time is the gateway process's own; blocks alternate, so a drifting machine hits both
sides alike.
"""

from __future__ import annotations

import http.client
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
from attrs import define, field

from contrib.dev.bench.harness import HEADERS, Row, Server, median, multipart, serving

KEYS = ("metrics", "access_log", "payload")
TWO = ("metrics", "access_log")
"""What is on by default."""
SCRIPT = json.dumps([{"say": "one two", "start": 0, "end": 2}]).encode()


class Caller:
    """One connection that is kept open."""

    def __init__(self, server: Server) -> None:
        self.connection = server.connection()
        self.gateway = psutil.Process(server.process.pid)
        self.body = multipart(SCRIPT)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> bytes:
        self.connection.request(method, path, body, headers)
        response = self.connection.getresponse()
        answer = response.read()
        assert response.status == 200, answer
        return answer

    def turn(self, keys: Sequence[str], on: bool) -> None:
        for key in keys:
            body = json.dumps({"key": key, "value": on}).encode()
            path = "/admin/api/observability/toggle"
            self.ask("POST", path, body, **{"Content-Type": "application/json"})

    def transcribe(self) -> float:
        """Seconds."""
        begin = time.perf_counter()
        self.ask("POST", "/v1/audio/transcriptions", self.body, **HEADERS)
        return time.perf_counter() - begin

    @property
    def cpu(self) -> float:
        """CPU seconds of the gateway so far, all its threads together."""
        try:
            tasks = list(Path(f"/proc/{self.gateway.pid}/task").iterdir())
            return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
        except (OSError, ValueError, IndexError):  # not Linux: a hundredth of a second is the grain
            spent = self.gateway.cpu_times()
            return float(spent.user + spent.system)

    def block(self, count: int) -> tuple[float, float]:
        """CPU seconds of the gateway per request, and the median latency in seconds."""
        before = self.cpu
        took = [self.transcribe() for _ in range(count)]
        return (self.cpu - before) / count, median(took)


@define
class Pair:
    """One figure with watching off and on, block by block."""

    off: list[float] = field(factory=list)
    on: list[float] = field(factory=list)

    @property
    def ratio(self) -> float:
        """The median of the pairs' own ratios: what disturbs a pair disturbs both of it."""
        return median([on / off for on, off in zip(self.on, self.off, strict=True)])


def compared(caller: Caller, keys: Sequence[str], rounds: int, count: int) -> tuple[Pair, Pair]:
    """CPU and latency, seconds per request."""
    cpu, latency = Pair(), Pair()
    caller.turn(KEYS, False)
    caller.block(count)
    for number in range(rounds):
        for on in (False, True) if number % 2 else (True, False):
            caller.turn(keys, on)
            spent, took = caller.block(count)
            (cpu.on if on else cpu.off).append(spent)
            (latency.on if on else latency.off).append(took)
    caller.turn(KEYS, False)
    return cpu, latency


def cost(caller: Caller, name: str, keys: Sequence[str], bar: float, quick: bool) -> list[Row]:
    rounds, count = (15, 50) if quick else (60, 50)
    cpu, latency = compared(caller, keys, rounds, count)
    return [
        Row(
            f"gateway CPU per request, {name} ({rounds} x {count} requests each)",
            f"{median(cpu.on) * 1e6:.0f} us on",
            f"{median(cpu.off) * 1e6:.0f} us off",
            cpu.ratio,
            f"<= {bar}",
            cpu.ratio <= bar,
        ),
        Row(
            f"median latency, {name}",
            f"{median(latency.on) * 1e3:.3f} ms on",
            f"{median(latency.off) * 1e3:.3f} ms off",
            latency.ratio,
            f"<= {bar}",
            latency.ratio <= bar,
        ),
    ]


SCRAPES = 50


class Scraped:
    """Fifty scrapes: bytes of the answer; per scrape, the gateway's CPU and the median time, ms."""

    def __init__(self, caller: Caller) -> None:
        took = []
        before = caller.cpu
        for _ in range(SCRAPES):
            begin = time.perf_counter()
            self.size = len(caller.ask("GET", "/metrics"))
            took.append((time.perf_counter() - begin) * 1e3)
        self.cpu = (caller.cpu - before) / SCRAPES * 1e3
        self.wall = median(took)


def behind(caller: Caller, jobs: int) -> list[Row]:
    """/metrics after ten jobs and after `jobs`."""
    caller.turn(("metrics",), True)
    for _ in range(10):
        caller.transcribe()
    few = Scraped(caller)
    for _ in range(jobs - 10):
        caller.transcribe()
    many = Scraped(caller)
    return [
        Row(
            f"/metrics, size behind {jobs} jobs",
            f"{many.size} bytes",
            f"{few.size} bytes behind 10",
            many.size / few.size,
            "<= 1.2",
            many.size / few.size <= 1.2,
        ),
        Row(
            f"/metrics, gateway CPU of a scrape behind {jobs} jobs",
            f"{many.cpu:.2f} ms (answer after {many.wall:.1f} ms)",
            f"{few.cpu:.2f} ms ({few.wall:.1f} ms) behind 10",
            many.cpu / few.cpu,
            "<= 1.5",
            many.cpu / few.cpu <= 1.5,
        ),
    ]


def run(quick: bool) -> list[Row]:
    """All of it, on one server."""
    with (
        tempfile.TemporaryDirectory() as state,
        serving("--fake", XDG_STATE_HOME=state, AISTACK_LOG__LEVEL="warning") as server,
    ):
        caller = Caller(server)
        try:
            caller.transcribe()
            return [
                *cost(caller, "metrics and access log", TWO, 1.15, quick),
                *cost(caller, "all, capture too", KEYS, 2.0, quick),
                *behind(caller, 1_000 if quick else 10_000),
            ]
        except http.client.HTTPException as exc:
            raise SystemExit(f"the server went away: {exc!r}") from exc
        finally:
            caller.connection.close()
