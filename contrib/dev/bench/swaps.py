"""Swap costs: what it takes to hand the slot from one engine to the next, and that nothing is left over.

    python -m contrib.dev.bench.swaps                # 30 rounds; about half an hour on two cores
    python -m contrib.dev.bench.swaps --rounds 2     # a first look

Round and round goes whisper, parakeet, sensevoice, whisper, each with one short transcription. Evict is
from the submission to `evicted`; prepare is `prepare_s` of the job's line (evict, a process, import,
load); import and load are measured by themselves, in fresh processes of the same engines in the same
run. With a warm spare an engine that comes back within two swaps has its import behind it, so there the
order is A, B, A. Memory is of the gateway and of all its children, resident (RSS) and proportional
(PSS), after every round with the same engine in the slot. It may not grow: the run fails if it does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import psutil
from attrs import frozen

from contrib.dev.bench.ears import EARS_BY_NAME, engines, lines, listening, until
from contrib.dev.bench.harness import AUDIO, ROOT, Server, median

ROUND = ("whisper", "parakeet", "sensevoice")
SHORT = (AUDIO / "digits-en.wav").read_bytes()
GROWTH_MB = 12.0
"""What a gateway's heap may wander between the first quarter of the rounds and the last."""


@frozen
class Swap:
    """One request that changed the engine: seconds, all as the service's own log has them."""

    engine: str
    evict: float
    prepare: float
    run: float
    total: float


def swap(server: Server, name: str) -> Swap:
    """Ask for an engine; what its job's lines say."""
    before = len(lines(server, "job.done"))
    status, body, took = server.transcribe(SHORT, model=EARS_BY_NAME[name].model)
    assert status == 200, body
    until(lambda: len(lines(server, "job.done")) > before, "the line of the job")
    done = lines(server, "job.done")[-1]
    assert done["backend"] == ("sphinx" if name == "pocketsphinx" else name)
    evicted = [
        line
        for line in lines(server, "job.transition")
        if line["job_id"] == done["job_id"] and line.get("event") == "Evicted"
    ]
    evict = 0.0
    if evicted:
        first = next(
            line for line in lines(server, "job.transition") if line["job_id"] == done["job_id"]
        )
        evict = (stamp(evicted[0]) - stamp(first)).total_seconds()
    return Swap(name, evict, done["prepare_s"], done["run_s"], took)


def stamp(line: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(line["timestamp"].replace("Z", "+00:00"))


def settled(server: Server) -> None:
    """Wait until the spare (if there is one) has imported: its processor time stands still."""
    end = time.monotonic() + 180
    calm, before = 0, -1.0
    while calm < 4 and time.monotonic() < end:
        now = sum(sum(process.cpu_times()[:2]) for process in engines(server))
        calm = calm + 1 if now - before < 0.02 else 0
        before = now
        time.sleep(0.5)


def memory(server: Server) -> tuple[float, float, float, float]:
    """RSS and PSS of the gateway, then of its children together, MB."""

    def sizes(group: Sequence[psutil.Process]) -> tuple[float, float]:
        found = [process.memory_full_info() for process in group]
        return sum(each.rss for each in found) / 1e6, sum(each.pss for each in found) / 1e6

    return *sizes(server.tree[:1]), *sizes(server.tree[1:])


ALONE = """
import json, sys, time
from aistack.chunks import ModelSpec
import importlib
module, name, spec = sys.argv[1:4]
spec = json.loads(spec)
engine = getattr(importlib.import_module(module), name)()
begin = time.perf_counter()
engine.warm()
warm = time.perf_counter()
engine.load(ModelSpec(*spec), lambda progress: None)
print("\\n" + json.dumps([warm - begin, time.perf_counter() - warm]))
"""


def alone(name: str) -> tuple[float, float]:
    """Seconds of import and of load, in a fresh process at the engines' niceness."""
    models = ROOT / "tests" / "data" / "models"
    target, source, options = {
        "whisper": ("whisper:Whisper", "tiny-whisper-digits", {}),
        "parakeet": ("parakeet:Parakeet", "parakeet-digits.nemo", {}),
        "sensevoice": (
            "sensevoice:SenseVoice",
            "sensevoice-digits",
            {"vad": str(models / "fsmn-vad-digits")},
        ),
    }[name]
    module, _, attribute = target.partition(":")
    spec = json.dumps([name, str(models / source), "cpu", {"threads": 1, **options}])
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        ALONE,
        f"aistack.engines.{module}",
        attribute,
        spec,
    ]
    out = subprocess.run(
        command,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: os.nice(10),
    ).stdout
    imported, loaded = json.loads(out.strip().splitlines()[-1])
    return imported, loaded


def seconds(values: list[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def report(title: str, swaps: list[Swap], alones: dict[str, tuple[float, float]]) -> None:
    print(f"\n{title}: seconds, median (least to most)\n")
    print("| to | swaps | evict | prepare (with evict) | run | whole request | import | load |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in dict.fromkeys(each.engine for each in swaps):
        of = [each for each in swaps if each.engine == name]
        cells = [
            seconds([getattr(each, part) for each in of])
            for part in ("evict", "prepare", "run", "total")
        ]
        by_itself = [f"{value:.2f}" for value in alones.get(name, ())] or ["", ""]
        print(f"| {name} | {len(of)} | " + " | ".join([*cells, *by_itself]) + " |")


def cold(rounds: int) -> list[str]:
    """Round and round without a spare; what has grown."""
    alones = {name: alone(name) for name in ROUND}
    swaps: list[Swap] = []
    sizes: list[tuple[float, float, float, float]] = []
    with listening(spare="off", OMP_NUM_THREADS="1") as server:
        swap(server, "whisper")
        first = memory(server)
        print(
            "\n| round | gateway RSS | PSS | children RSS | PSS | processes |  MB, Whisper in the slot"
        )
        print("| --- | --- | --- | --- | --- | --- |")
        print("| before | " + " | ".join(f"{value:.1f}" for value in first) + f" | {len(server.tree)} |")
        for number in range(rounds):
            swaps += [swap(server, name) for name in (*ROUND[1:], ROUND[0])]
            sizes.append(memory(server))
            cells = " | ".join(f"{value:.1f}" for value in sizes[-1])
            print(f"| {number + 1} | {cells} | {len(server.tree)} |", flush=True)
        assert len(server.tree) == 2, "a process was left behind"
        descriptors = psutil.Process(server.process.pid).num_fds()
        done = lines(server, "job.done")[-1]
    report("cold", swaps, alones)
    print(f"\ndescriptors of the gateway at the end: {descriptors}")
    print("last job.done: " + json.dumps(done))
    quarter = max(1, rounds // 4)
    grown = []
    for index, what in enumerate(("gateway RSS", "gateway PSS", "children RSS", "children PSS")):
        early = median([size[index] for size in sizes[:quarter]])
        late = median([size[index] for size in sizes[-quarter:]])
        print(f"{what}: first quarter {early:.1f} MB, last quarter {late:.1f} MB")
        if late - early > GROWTH_MB:
            grown.append(f"{what} grew by {late - early:.1f} MB")
    return grown


def warm(rounds: int) -> None:
    """There and back, with the spare that has imported."""
    swaps: list[Swap] = []
    with listening(spare="on", OMP_NUM_THREADS="1") as server:
        for name in ROUND[1:]:
            swap(server, name)
            for _ in range(rounds):
                swap(server, "whisper")
                settled(server)
                swaps.append(swap(server, name))
                settled(server)
    report("with a warm spare (back after Whisper)", swaps, {})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m contrib.dev.bench.swaps", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--warm-rounds", type=int, default=3)
    options = parser.parse_args()
    grown = cold(options.rounds)
    warm(options.warm_rounds)
    if grown:
        raise SystemExit("; ".join(grown))


if __name__ == "__main__":
    main()
