"""The relay path against its peers: direct, a bare aiohttp proxy, optionally nginx and LiteLLM.

    python -m contrib.dev.bench relay [--litellm COMMAND] [--nginx] [--quick]

All targets stand before the same upstream and take turns; a figure is the median over the rounds.
CPU is the target's own time per request or token, which a busy machine blurs least. `bare+touch` makes
the one extra round trip that an effective `keep_alive` costs; the bars that allow for it compare with
that one, and with the arithmetic (bare + one direct round trip) beside it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import uvloop

from contrib.dev.bench.harness import Row, median
from contrib.dev.bench.relay_load import Load, cancels, large
from contrib.dev.bench.relay_targets import Bench, Target, load_average, settle, started

T = TypeVar("T")
Figures = dict[str, float]
Result = dict[str, dict[str, Figures]]
"""By case, then by target."""

LARGE = 100_000_000
SAMPLE_S = 0.005
PYTHONS = ("bare", "bare+touch", "aistack")


def _run(work: Coroutine[Any, Any, T]) -> T:
    return uvloop.run(work)


class Rounds:
    """Runs cases against all targets in turn and keeps every figure."""

    def __init__(self, bench: Bench, quick: bool) -> None:
        self.bench = bench
        self.seconds = 1.0 if quick else 3.0
        self.count = 2 if quick else 5
        self.cuts = 0
        self.seen: dict[str, dict[str, list[Figures]]] = {}

    def take(self, case: str, target: Target, work: Callable[[], Awaitable[Figures]]) -> None:
        """One measurement of one target."""
        before, resident = target.cpu_s(), target.rss
        figures, peak = _run(_watched(work(), target))
        figures["cpu_us"] = (target.cpu_s() - before) / max(figures["n"], 1) * 1e6
        figures["growth_mb"] = (peak - resident) / 1e6
        self.seen.setdefault(case, {}).setdefault(target.name, []).append(figures)
        said = ", ".join(f"{name} {value:.3g}" for name, value in figures.items())
        print(f"  {case} | {target.name}: {said}", file=sys.stderr, flush=True)
        settle()

    def all(self) -> Result:
        """Every case; the medians."""
        key = self.bench.key
        for target in self.bench.targets:
            _run(Load(target.port, key, 2, 0.5).run())
            _run(Load(target.port, key, 1, 0.3, True).run())
        for _ in range(self.count):
            for target in self.bench.targets:
                for case, load in self._loads(target).items():
                    self.take(case, target, load.run)
                if target.name != "litellm":
                    self._cancel(target)
        for _ in range(self.count):
            for target in self.bench.targets:
                if target.name in ("litellm", "bare+touch", "direct"):
                    continue
                for way in ("response", "chunked", "request"):
                    work = large(target.port, key, LARGE, way)
                    self.take(f"100 MB {way}", target, lambda work=work: work)  # type: ignore[misc]
        return {
            case: {name: _medians(figures) for name, figures in by.items()}
            for case, by in self.seen.items()
        }

    def _loads(self, target: Target) -> dict[str, Load]:
        port, key, seconds = target.port, self.bench.key, self.seconds
        loads = {
            "json c1": Load(port, key, 1, seconds),
            "burst c1": Load(port, key, 1, seconds, True),
            "paced c1": Load(port, key, 1, seconds, True, "fake-5"),
            "json c32": Load(port, key, 32, seconds),
            "paced c32": Load(port, key, 32, seconds, True, "fake-5"),
        }
        if target.name == "aistack":
            loads["json c32, back after 50 ms"] = Load(port, key, 32, seconds, back_s=0.05)
            loads["paced c32, back after 50 ms"] = Load(
                port, key, 32, seconds, True, "fake-5", back_s=0.05
            )
        return loads

    def _cancel(self, target: Target) -> None:
        times = 3 if self.seconds < 2 else 5
        before, self.cuts = self.cuts, self.cuts + times
        upstream, key = self.bench.upstream.port, self.bench.key
        self.take("cancel", target, lambda: cancels(target.port, upstream, key, times, before))


async def _watched(work: Awaitable[Figures], target: Target) -> tuple[Figures, int]:
    """The figures, and the largest resident size meanwhile."""
    peak = 0

    async def sample() -> None:
        nonlocal peak
        while True:
            peak = max(peak, target.rss)
            await asyncio.sleep(SAMPLE_S)

    sampling = asyncio.ensure_future(sample())
    try:
        return await work, max(peak, target.rss)
    finally:
        sampling.cancel()


def _medians(figures: list[Figures]) -> Figures:
    names = figures[0].keys()
    return {name: median([one[name] for one in figures if name in one]) for name in names}


# --- verdicts ---------------------------------------------------------------------------------------


def run(quick: bool, litellm: str = "", nginx: bool = False) -> list[Row]:
    """Start everything, measure, judge."""
    with started(litellm, nginx) as bench:
        rounds = Rounds(bench, quick)
        before = load_average()
        result = rounds.all()
        print(figures_table(result), flush=True)
        print(f"load before and after: {before}, {load_average()}\n", flush=True)
    return verdicts(result)


def figures_table(result: Result) -> str:
    """Everything that was measured, as Markdown."""
    lines = []
    for case, by in result.items():
        names = list(dict.fromkeys(name for figures in by.values() for name in figures))
        lines += [f"\n{case}\n", "| | " + " | ".join(names) + " |", "| --- " * (len(names) + 1) + "|"]
        for target, figures in by.items():
            cells = (f"{figures[name]:.4g}" if name in figures else "" for name in names)
            lines.append(f"| {target} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def verdicts(result: Result) -> list[Row]:
    """One row per bar; LiteLLM's figures beside, where it ran."""
    rows = [
        *_like(result, "json c1", "p50_ms", "request p50", 1.5, "ms"),
        *_like(result, "paced c1", "first_ms", "first token, one per 5 ms", 1.5, "ms"),
        *_like(result, "burst c1", "first_ms", "first token, burst", 1.5, "ms"),
        _ratio(result, "json c1", "cpu_us", "CPU per request", "bare+touch", 1.5, "us"),
        _ratio(result, "paced c1", "cpu_us", "CPU per token, one per 5 ms", "bare", 1.3, "us"),
        _ratio(result, "burst c1", "cpu_us", "CPU per token, burst", "bare", 1.3, "us"),
        _cancelled(result),
        *_crowded(result, "json"),
        *_crowded(result, "paced"),
    ]
    for way in ("response", "chunked", "request"):
        rows += _large(result, way)
    return rows


def _beside(result: Result, case: str, figure: str, unit: str) -> str:
    """The peers that set no bar."""
    by = result[case]
    peers = [name for name in ("nginx", "litellm") if name in by]
    return "".join(f"; {name} {by[name][figure]:.3g} {unit}" for name in peers)


def _like(result: Result, case: str, figure: str, what: str, bar: float, unit: str) -> list[Row]:
    """Against the bare proxy with one more round trip: measured, and by arithmetic."""
    by = result[case]
    ours = by["aistack"][figure]
    trip = result["json c1"]["direct"]["p50_ms"]
    floors = {
        "bare that makes one more round trip": by["bare+touch"][figure],
        "bare + a direct round trip": by["bare"][figure] + trip,
    }
    beside = _beside(result, case, figure, unit)
    return [
        Row(
            f"{what}, against {name}",
            f"{ours:.3g} {unit}",
            f"{floor:.3g} {unit}{beside}",
            ours / floor,
            f"<= {bar}",
            ours / floor <= bar,
        )
        for name, floor in floors.items()
    ]


def _ratio(result: Result, case: str, figure: str, what: str, floor: str, bar: float, unit: str) -> Row:
    ours, theirs = result[case]["aistack"][figure], result[case][floor][figure]
    reference = f"{theirs:.3g} {unit} {floor}{_beside(result, case, figure, unit)}"
    ratio = ours / theirs
    return Row(what, f"{ours:.3g} {unit}", reference, ratio, f"<= {bar}", ratio <= bar)


def _cancelled(result: Result) -> Row:
    ours, theirs = result["cancel"]["aistack"]["p50_ms"], result["cancel"]["bare"]["p50_ms"]
    return Row(
        "cancel reaches the upstream",
        f"{ours:.2f} ms",
        f"{theirs:.2f} ms bare",
        ours / theirs,
        "<= bare + 5 ms",
        ours <= theirs + 5,
    )


def _crowded(result: Result, kind: str) -> list[Row]:
    """Thirty-two callers for one slot: what is accepted, and how fast the others hear no."""
    alone = result[f"{kind} c1"]["aistack"]["per_s"]
    rows = []
    for case, when in ((f"{kind} c32", "1 ms"), (f"{kind} c32, back after 50 ms", "50 ms")):
        ours = result[case]["aistack"]
        share, refused = ours["per_s"] / alone, ours.get("refused_p50_ms", float("inf"))
        name = f"{kind}, 32 callers, the refused back after {when}"
        rows.append(
            Row(
                f"{name}: accepted",
                f"{ours['per_s']:.3g}/s",
                f"{alone:.3g}/s with one caller",
                share,
                ">= 0.7",
                share >= 0.7,
            )
        )
        rows.append(Row(f"{name}: refusal p50", f"{refused:.2f} ms", "", None, "<= 5 ms", refused <= 5))
    return rows


def _large(result: Result, way: str) -> list[Row]:
    by = result[f"100 MB {way}"]
    ours, bare = by["aistack"], by["bare"]
    ratio = ours["mb_per_s"] / bare["mb_per_s"]
    beside = f"; nginx {by['nginx']['mb_per_s']:.0f} MB/s" if "nginx" in by else ""
    return [
        Row(
            f"100 MB {way}: speed",
            f"{ours['mb_per_s']:.0f} MB/s",
            f"{bare['mb_per_s']:.0f} MB/s bare{beside}",
            ratio,
            ">= 0.8",
            ratio >= 0.8,
        ),
        Row(
            f"100 MB {way}: growth",
            f"{ours['growth_mb']:.1f} MB",
            f"{bare['growth_mb']:.1f} MB bare",
            None,
            "<= 16 MB",
            ours["growth_mb"] <= 16,
        ),
    ]
