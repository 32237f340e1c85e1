"""`python -m contrib.dev.bench.soak [--jobs N] [--real N] [--clients N] [--seed N]`: the long run.

Thousands of jobs through the real command line, with the scripted engine and the tiny Whisper behind
one slot; a third of the clients leave at random moments, some engine processes are killed. What a
leak would change is compared before and after, the gateway's memory at half time and at the end,
and every job must have told its end exactly once. Everything random comes from the seed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from attrs import define, evolve, field, frozen

from contrib.dev.bench.harness import HEADERS, ROOT, TINY, free_port, wait_healthy
from contrib.dev.bench.soak_orders import Order, orders, refused, simple

GROWTH_MAX = 5_000_000
"""Bytes that the gateway may grow in the second half."""
POOL = min(32, (os.cpu_count() or 1) + 4)
"""Threads of the interpreter's default pool: started when first needed, kept for ever."""
BOUND_S = 60.0
_RESET = struct.pack("ii", 1, 0)

# The command line as it is, except that it offers the scripted engine beside the real ones.
BOTH = """
import sys
import aistack.service.serve
from aistack.engines import ENGINES, SCRIPTED
from aistack.cli.main import main
aistack.service.serve.real_engines = lambda: ENGINES | SCRIPTED
sys.exit(main())
"""

CONFIG = """
[server]
spool_dir = "{spool}"
[slots]
devices = ["cpu"]
line_max = 64
idle_unload_s = 0
[engines]
threads = 1
spare = "off"
kill_after_s = 0.3
[models.local]
tiny-digits = "{tiny}"
[log]
level = "debug"
format = "json"
"""


@frozen
class Vitals:
    """What a leak would change."""

    descriptors: int
    threads: int
    processes: int
    spooled: int


@define
class Report:
    """What came of a run; `failures` are the bars that were missed, as sentences."""

    jobs: int
    seconds: float = 0.0
    before: Vitals | None = None
    after: Vitals | None = None
    threads_max: int = 0
    rss: list[int] = field(factory=list)
    clients: Counter[str] = field(factory=Counter)
    outcomes: Counter[str] = field(factory=Counter)
    submitted: int = 0
    done: int = 0
    told_once: int = 0
    illegal: int = 0
    never_jobs: int = 0
    killed: int = 0
    failures: list[str] = field(factory=list)

    def judge(self) -> None:
        """Fill `failures`."""
        grown = self.rss[2] - self.rss[1]
        bars = {
            f"the gateway grew by {grown} bytes in the second half": grown <= GROWTH_MAX,
            f"before {self.before}, after {self.after}": self._as_before(),
            f"{self.submitted} jobs, not {self.jobs}": self.submitted == self.jobs,
            f"{self.told_once} jobs of {self.submitted} have one job.done line": (
                self.told_once == self.done == self.submitted
            ),
            f"{self.illegal} lines about an illegal transition": self.illegal == 0,
            "no job was served": self.outcomes["ok"] > 0,
            "no job was cancelled": self.outcomes["cancelled"] > 0,
        }
        self.failures = [sentence for sentence, met in bars.items() if not met]

    def _as_before(self) -> bool:
        """Equal in everything; but on many cores the crowd may not have started the whole pool."""
        if self.before is None or self.after is None:
            return False
        pool = self.before.threads <= self.after.threads <= self.threads_max
        return pool and evolve(self.after, threads=self.before.threads) == self.before

    def __str__(self) -> str:
        start, half, end = (f"{each / 1e6:.1f}" for each in self.rss)
        return "\n".join(
            [
                f"jobs              {self.submitted} in {self.seconds:.0f} s, {self.killed} engine "
                f"processes killed, {self.never_jobs} clients left before they were a job",
                f"job.done lines    {self.done}; jobs with exactly one: {self.told_once}",
                f"outcomes          {dict(self.outcomes.most_common())}",
                f"clients saw       {dict(self.clients.most_common())}",
                f"gateway RSS, MB   {start} at the start, {half} at 50 %, {end} at 100 % "
                f"(last half {(self.rss[2] - self.rss[1]) / 1e6:+.2f})",
                f"before            {self.before}",
                f"after             {self.after}",
                f"IllegalTransition {self.illegal}",
                *(f"FAILED            {each}" for each in self.failures),
            ]
        )


# --- the service -------------------------------------------------------------------------------------


@define
class Service:
    """The gateway under test."""

    port: int
    process: psutil.Process
    spool: Path
    log: Path

    def vitals(self) -> Vitals:
        children = self.process.children(recursive=True)
        return Vitals(
            self.process.num_fds(),
            self.process.num_threads(),
            1 + len(children),
            len(os.listdir(self.spool)),
        )

    def lines(self) -> Iterator[dict[str, Any]]:
        with self.log.open() as file:
            for text in file:
                if text.endswith("\n"):
                    yield json.loads(text)

    def kill_an_engine(self) -> int:
        """How many were killed: none if none runs."""
        for child in self.process.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
                return 1
        return 0


@contextlib.contextmanager
def service() -> Iterator[Service]:
    """A gateway with both kinds of engine; SIGTERM at the end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "spool").mkdir()
        (folder / "aistack.toml").write_text(CONFIG.format(spool=folder / "spool", tiny=TINY))
        port = free_port()
        env = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
        serve = ["serve", "--config", str(folder / "aistack.toml"), "--port", str(port)]
        with (folder / "log").open("wb") as log, (folder / "stderr").open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-c", BOTH, *serve], stdout=log, stderr=errors, env=env
            )
            try:
                wait_healthy(port)
                yield Service(port, psutil.Process(process.pid), folder / "spool", folder / "log")
                process.send_signal(signal.SIGTERM)
                if process.wait(BOUND_S) != 0:
                    raise SystemExit(f"the gateway ended with {process.returncode}")
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()


# --- the clients -------------------------------------------------------------------------------------


def _head(body: bytes) -> bytes:
    lines = [
        "POST /v1/audio/transcriptions HTTP/1.1",
        "Host: localhost",
        "Connection: close",
        "Prefer: wait=300",
        f"Content-Type: {HEADERS['Content-Type']}",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


async def ask(port: int, order: Order) -> str:
    """Make one request; the status the client saw, or `left`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        request = _head(order.body) + order.body
        writer.write(request[: max(1, int(len(request) * order.sent))])
        if order.leave_s is None:
            answer = await asyncio.wait_for(reader.read(-1), BOUND_S)
            return _seen(answer)
        await asyncio.sleep(order.leave_s)
        if order.reset:
            sock: socket.socket = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
        return "left"
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def _seen(answer: bytes) -> str:
    status = answer[9:12].decode()
    if status == "200" and b'"type":"error"' in answer.replace(b" ", b""):
        return "200, then an error event"
    return status or "nothing"


async def play(gateway: Service, todo: list[Order], clients: int, report: Report) -> None:
    """Carry the orders out, `clients` at a time."""
    waiting = iter(todo)

    async def client() -> None:
        for order in waiting:
            if order.kill:
                report.killed += gateway.kill_an_engine()
            report.clients[await ask(gateway.port, order)] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())


async def settle(gateway: Service) -> None:
    """Wait until the log has every line so far: lines of a moment are written together, in order."""
    name = f"/v1/models/{secrets.token_hex(8)}"
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    head = f"GET {name} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    writer.write(head.encode())
    await asyncio.wait_for(reader.read(-1), BOUND_S)
    writer.close()
    for _ in range(int(BOUND_S / 0.05)):
        if any(line.get("path") == name for line in gateway.lines()):
            return
        await asyncio.sleep(0.05)
    raise TimeoutError("the log does not tell of a request")


async def submitted(gateway: Service) -> int:
    """Jobs that reached the machine so far."""
    await settle(gateway)
    return sum(
        1 for line in gateway.lines() if line["message"] == "job.transition" and line.get("from") is None
    )


async def rest(gateway: Service) -> int:
    """Wait until every job has ended and every client has gone; the gateway's resident bytes."""
    assert await ask(gateway.port, simple()) == "200"
    for _ in range(int(BOUND_S / 0.05)):
        open_ones = [
            each for each in gateway.process.net_connections("tcp") if each.status != psutil.CONN_LISTEN
        ]
        if not open_ones and not os.listdir(gateway.spool):
            break
        await asyncio.sleep(0.05)
    return int(gateway.process.memory_info().rss)


async def top_up(gateway: Service, wanted: int) -> int:
    """Jobs in place of those whose client left too early; how many were needed."""
    missing = wanted - await submitted(gateway)
    for _ in range(missing):
        await ask(gateway.port, simple())
    return missing


async def run(gateway: Service, report: Report, todo: list[Order], clients: int) -> None:
    """Both halves, with a rest before, between and after."""
    crowd = [refused()] * 64
    report.threads_max = gateway.process.num_threads() + POOL
    await play(gateway, crowd, 64, Report(0))  # brings up every thread of the pool
    report.rss.append(await rest(gateway))
    report.before = gateway.vitals()
    begin = time.monotonic()
    extra = await submitted(gateway)  # the jobs that only look whether it is at rest
    half = len(todo) // 2
    for first, last in ((0, half), (half, len(todo))):
        await play(gateway, todo[first:last], clients, report)
        report.never_jobs += await top_up(gateway, extra + last)
        report.rss.append(await rest(gateway))
        extra += 1
    report.seconds = time.monotonic() - begin
    report.after = gateway.vitals()
    report.submitted = await submitted(gateway) - extra
    told = Counter(line["job_id"] for line in gateway.lines() if line["message"] == "job.done")
    report.done = told.total() - extra
    report.told_once = sum(1 for count in told.values() if count == 1) - extra
    report.illegal = sum(1 for line in gateway.lines() if "IllegalTransition" in json.dumps(line))
    report.outcomes = Counter(
        line["outcome"] for line in gateway.lines() if line["message"] == "job.done"
    )
    report.outcomes["ok"] -= extra


def soak(jobs: int, real: int, clients: int, seed: int) -> Report:
    """The whole thing."""
    report = Report(jobs)
    with service() as gateway:
        asyncio.run(run(gateway, report, orders(jobs, real, seed), clients))
    report.judge()
    return report


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m contrib.dev.bench.soak", description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--real", type=int, default=500, help="how many of them by the tiny Whisper")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    report = soak(options.jobs, options.real, options.clients, options.seed)
    print(report)
    sys.exit(1 if report.failures else 0)


if __name__ == "__main__":
    main()
