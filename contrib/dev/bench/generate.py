"""Tokens from local weights over HTTP against the engine called directly in a process of its own.

Needs torch, transformers and tiktoken in the interpreter it is run with. The tiny weights are those of
the tests; the others are random, of the size of a nanochat of depth 12, and are made in a temporary
folder (1.3 GB for two). Greedy, one thread, niceness 0 on both sides; both must say the same.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from contrib.dev.bench.harness import (
    ROOT,
    Row,
    Server,
    free_port,
    median,
    percentile,
    serving,
    wait_healthy,
)
from contrib.dev.bench.health import Prober
from contrib.dev.bench.random_nanochat import make_random

TINY = ROOT / "tests" / "data" / "models" / "tiny-nanochat"
KEY = "bench"
AUTH = {"X-Internal-API-Key": KEY}
LIMIT_S = 300.0
LOOK_S = 0.002
ONE_TOKEN_MORE_S = 0.02


class Direct:
    """The reference process; `loaded_s` is what starting it, importing and loading took."""

    def __init__(self, path: Path) -> None:
        begin = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "contrib.dev.bench.generate_direct", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        self._read()
        self.loaded_s = time.perf_counter() - begin

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def ask(self, text: str, tokens: int) -> dict[str, Any]:
        """`s` seconds, `text`, and the number of `tokens`."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"text": text, "tokens": tokens}) + "\n")
        self.process.stdin.flush()
        return self._read()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


class Api:
    """The internal API of a running server, over kept connections."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.looking = server.connection()

    def get(self, path: str) -> dict[str, Any]:
        self.looking.request("GET", path, headers=AUTH)
        answer: dict[str, Any] = json.loads(self.looking.getresponse().read())
        return answer

    def swap(self, tag: str) -> float:
        """Seconds from the order to the end of the job, as /stats tells it."""
        begin = time.perf_counter()
        self.looking.request("POST", "/models/swap", json.dumps({"model_tag": tag}), AUTH)
        response = self.looking.getresponse()
        body = response.read()
        assert response.status == 202, body
        while True:
            last = self.get("/stats")["last_swap"]
            if last["status"] != "running":
                assert last == {"model_tag": tag, "status": "ok", "error": None}, last
                return time.perf_counter() - begin
            assert time.perf_counter() - begin < LIMIT_S
            time.sleep(LOOK_S)

    def begin(self, text: str, tokens: int) -> http.client.HTTPConnection:
        connection = self.server.connection()
        body = {"messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": tokens}
        connection.request("POST", "/generate", json.dumps(body), AUTH)
        return connection

    def ask(self, text: str, tokens: int) -> tuple[float, str]:
        """Seconds from the request to the end of the stream, and the text."""
        begin = time.perf_counter()
        with contextlib.closing(self.begin(text, tokens)) as connection:
            response = connection.getresponse()
            body = response.read().decode()
        took = time.perf_counter() - begin
        events = [json.loads(block[6:]) for block in body.split("\n\n") if block.startswith("data: ")]
        assert events[-1] == {"done": True}, body[-300:]
        return took, "".join(event.get("token", "") for event in events)

    def leave(self, text: str, tokens: int) -> tuple[float, float]:
        """Seconds from closing the connection in mid-stream to a free slot, as /stats tells it, and
        seconds a token takes."""
        times: list[float] = []
        connection = self.begin(text, tokens)
        response = connection.getresponse()
        while len(times) < 12:
            line = response.readline()
            assert line, "the answer was over before the client left"
            if line.startswith(b"data: "):
                times.append(time.perf_counter())
        assert self.get("/stats")["busy_workers"] == 1, "it was over before the client left"
        begin = time.perf_counter()
        response.close()
        connection.close()
        while self.get("/stats")["busy_workers"]:
            assert time.perf_counter() - begin < LIMIT_S
        # Several tokens may come in one read: only the mean tells what one takes.
        return time.perf_counter() - begin, (times[-1] - times[0]) / (len(times) - 1)


@contextlib.contextmanager
def serve(root: Path, spare: str = "off", beside: str = "never") -> Iterator[Api]:
    """A service with these weights, none selected."""
    settings = {
        "AISTACK_INFERENCE__API_KEY": KEY,
        "AISTACK_INFERENCE__ROOT": str(root),
        "AISTACK_INFERENCE__SWAP_BESIDE": beside,
        "AISTACK_SLOTS__DEVICES": "cpu",
        "AISTACK_ENGINES__NICE": "0",
    }
    with serving(spare=spare, **settings) as server:
        api = Api(server)
        try:
            yield api
        finally:
            api.looking.close()


class Peak(threading.Thread):
    """The largest sum of resident bytes of the engine processes, looked at every 20 ms."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.me = psutil.Process(server.process.pid)
        self.bytes = 0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.02):
            total = 0
            for child in self.me.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    total += child.memory_info().rss
            self.bytes = max(self.bytes, total)

    def __enter__(self) -> Peak:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join()


def speed(root: Path, tag: str, tokens: int, pairs: int, bar: bool) -> list[Row]:
    """Tokens per second, and the way from a client that leaves to a free slot."""
    direct = Direct(root / tag)
    rates: list[float] = []
    references: list[float] = []
    questions = ("Count to sixty.", "Count to sixty. z", "z Count to sixty.")
    try:
        with serve(root) as api:
            api.swap(tag)
            api.ask("z", 4)
            direct.ask("z", 4)
            for turn in range(pairs):
                text = questions[turn % len(questions)]
                took, said = api.ask(text, tokens)
                reference = direct.ask(text, tokens)
                assert said == reference["text"], "the two sides said different things"
                rates.append(reference["tokens"] / took)
                references.append(reference["tokens"] / reference["s"])
            # 2000 tokens are far more than are made before the client leaves
            left = [api.leave("z", 2000) for _ in range(min(pairs, 8))]
    finally:
        direct.close()
    ratio = median([a / b for a, b in zip(rates, references, strict=True)])
    over = max(took - (2 * step + ONE_TOKEN_MORE_S) for took, step in left)
    return [
        Row(
            f"{tag}: tokens/s over HTTP",
            f"{median(rates):.1f}",
            f"{median(references):.1f} direct",
            ratio,
            ">= 0.95" if bar else "reported",
            ratio >= 0.95 if bar else None,
        ),
        Row(
            f"{tag}: client leaves -> slot free, ms",
            f"{1000 * median([took for took, _ in left]):.1f} (max {1000 * max(left)[0]:.1f})",
            f"one token {1000 * median([step for _, step in left]):.1f}",
            None,
            "<= 2 tokens + 20 ms",
            over <= 0,
        ),
    ]


def responsive(root: Path, tag: str, tokens: int, turns: int) -> Row:
    """/health while a generation runs, against a bare server asked at the same times."""
    port = free_port()
    bare = subprocess.Popen([sys.executable, "-m", "contrib.dev.bench.bare", str(port)], cwd=ROOT)
    try:
        wait_healthy(port)
        with serve(root) as api:
            api.swap(tag)
            api.ask("z", 4)
            probers = [Prober(api.server.port), Prober(port)]
            for prober in probers:
                prober.start()
            for _ in range(turns):
                api.ask("Count to sixty.", tokens)
            for prober in probers:
                prober.stop.set()
                prober.join()
    finally:
        bare.terminate()
        bare.wait(10)
    ours, theirs = probers[0].took, probers[1].took
    p99, most = percentile(ours, 0.99), max(ours)
    bare99, bare_most = percentile(theirs, 0.99), max(theirs)
    return Row(
        f"{tag}: /health while generating; {len(ours)} probes",
        f"p50 {median(ours):.2f}, p99 {p99:.2f}, max {most:.1f} ms",
        f"p50 {median(theirs):.2f}, p99 {bare99:.2f}, max {bare_most:.1f} ms bare",
        p99 / bare99,
        "p99 <= max(10 ms, 2x), max <= max(100 ms, 2x)",
        p99 <= max(10, 2 * bare99) and most <= max(100, 2 * bare_most),
    )


def swaps(root: Path, tags: tuple[str, str], pairs: int) -> list[Row]:
    """A change of weights without a drain, against a fresh interpreter that loads the same."""
    cold: list[float] = []
    warm: list[float] = []
    side: list[float] = []
    fresh: list[float] = []
    with serve(root) as api:
        api.swap(tags[1])
        with Peak(api.server) as after:
            for turn in range(pairs):
                tag = tags[turn % 2]
                cold.append(api.swap(tag))
                direct = Direct(root / tag)
                fresh.append(direct.loaded_s)
                direct.close()
    with serve(root, spare="on") as api:
        api.swap(tags[1])
        api.swap(tags[0])
        for turn in range(pairs):
            time.sleep(max(fresh) * 1.5)  # the spare's imports
            warm.append(api.swap(tags[(turn + 1) % 2]))
    with serve(root, beside="auto") as api:
        api.swap(tags[1])
        with Peak(api.server) as beside:
            side += [api.swap(tags[turn % 2]) for turn in range(pairs)]
    ratio = median([a / b for a, b in zip(cold, fresh, strict=True)])
    name = f"swap of {tags[0]}"
    seconds = f"{median(fresh):.2f} fresh interpreter"
    return [
        Row(f"{name}, s", f"{median(cold):.2f}", seconds, ratio, "<= 1.1", ratio <= 1.1),
        Row(
            f"{name} with a warm spare, s",
            f"{median(warm):.2f}",
            seconds,
            median(warm) / median(fresh),
            "reported",
            None,
        ),
        Row(
            f"{name} beside the old, s",
            f"{median(side):.2f}",
            seconds,
            median(side) / median(fresh),
            "reported",
            None,
        ),
        Row(
            f"{name}: peak memory of engines, MB",
            f"{after.bytes / 1e6:.0f} after the old",
            f"{beside.bytes / 1e6:.0f} beside it",
            None,
            "reported",
            None,
        ),
    ]


def run(quick: bool) -> list[Row]:
    """All rows."""
    rows = speed(TINY, "tiny-ada", 100, 5 if quick else 20, bar=False)
    rows += swaps(TINY, ("tiny-ada", "tiny-bo"), 2 if quick else 5)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_random(root, "d12-one", 1)
        make_random(root, "d12-two", 2)
        rows += speed(root, "d12-one", 32 if quick else 64, 3 if quick else 8, bar=True)
        rows.append(responsive(root, "d12-one", 64, 2 if quick else 10))
        rows += swaps(root, ("d12-one", "d12-two"), 2 if quick else 5)
    return rows
