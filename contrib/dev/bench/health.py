"""(e) `/health` while an engine imports, loads and decodes, against a bare server in the same run;
(h) start to the first 200, and the gateway's size with no engine running.

`python -m contrib.dev.bench.health --heavy` is (e) for NeMo and FunASR, which take 7 to 20 s to import.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from contrib.dev.bench.harness import (
    AUDIO,
    ROOT,
    Row,
    Server,
    free_port,
    median,
    percentile,
    repeated,
    serving,
    table,
    wait_healthy,
)

PERIOD_S = 0.005


class Prober(threading.Thread):
    """Asks for `/health` two hundred times a second; milliseconds of each answer."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.took: list[float] = []
        self.stop = threading.Event()

    def run(self) -> None:
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        ) as connection:
            while not self.stop.wait(PERIOD_S):
                begin = time.perf_counter()
                connection.request("GET", "/health")
                response = connection.getresponse()
                response.read()
                assert response.status == 200
                self.took.append((time.perf_counter() - begin) * 1000)


LIGHT = ("tiny-digits", "pocketsphinx-en-us")
HEAVY = ("parakeet", "sensevoice")


def responsive(
    quick: bool,
    serve: Callable[[], AbstractContextManager[Server]] = serving,
    models: Sequence[str] = LIGHT,
) -> Row:
    """(e): the same probing of both servers at once, while the gateway's engine does everything."""
    port = free_port()
    bare = subprocess.Popen([sys.executable, "-m", "contrib.dev.bench.bare", str(port)], cwd=ROOT)
    try:
        wait_healthy(port)
        ours: list[float] = []
        theirs: list[float] = []
        audio = repeated(AUDIO / "digits-en-long.wav", 60 if quick else 300)
        for _ in range(1 if quick else 3):
            with serve() as server:
                probers = [Prober(server.port), Prober(port)]
                for prober in probers:
                    prober.start()
                for model in models:
                    status, body, _ = server.transcribe(
                        audio[: 30 * 32000] if model == "pocketsphinx-en-us" else audio, model=model
                    )
                    assert status == 200, body
                for prober in probers:
                    prober.stop.set()
                    prober.join()
                ours += probers[0].took
                theirs += probers[1].took
    finally:
        bare.terminate()
        bare.wait(10)
    p99, most = percentile(ours, 0.99), max(ours)
    bare99, bare_most = percentile(theirs, 0.99), max(theirs)
    return Row(
        f"(e) /health while {', '.join(models)} import, load, decode; {len(ours)} probes",
        f"p50 {median(ours):.2f}, p99 {p99:.2f}, max {most:.1f} ms",
        f"p50 {median(theirs):.2f}, p99 {bare99:.2f}, max {bare_most:.1f} ms bare",
        p99 / bare99,
        "p99 <= max(10 ms, 2x), max <= max(100 ms, 2x)",
        p99 <= max(10, 2 * bare99) and most <= max(100, 2 * bare_most),
    )


def start(count: int) -> list[Row]:
    """(h)."""
    seconds, sizes = [], []
    for _ in range(count):
        with serving() as server:
            seconds.append(server.up_s)
            sizes.append(server.rss)
    return [
        Row(
            f"(h) start to first /health 200, {count} starts",
            f"median {median(seconds):.2f} s, max {max(seconds):.2f} s",
            "",
            None,
            "<= 1 s",
            median(seconds) <= 1,
        ),
        Row(
            "(h) resident size with no engine running",
            f"{max(sizes) / 1e6:.1f} MB",
            "",
            None,
            "<= 70 MB",
            max(sizes) <= 70e6,
        ),
    ]


def run(quick: bool) -> list[Row]:
    """Both."""
    return [responsive(quick), *start(3 if quick else 7)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m contrib.dev.bench.health")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--heavy", action="store_true", help="NeMo and FunASR (they must be installed)")
    options = parser.parse_args()
    if options.heavy:
        from contrib.dev.bench.ears import listening

        print(table([responsive(options.quick, listening, HEAVY)]))
    else:
        print(table(run(options.quick)))


if __name__ == "__main__":
    main()
