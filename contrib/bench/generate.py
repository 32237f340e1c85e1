"""Tokens from local weights: through scheduler and engine process against the engine called directly.

Needs torch and transformers in the interpreter it is run with. The tiny weights are those of the
tests; the others are random, of the size of a nanochat of depth 12, and are made in a temporary
folder (about 0.7 GB). One thread on both sides.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from aistack.backends import nano_weights
from aistack.chunks import Generate, Message, ModelSpec, Vram
from aistack.ids import job_id
from aistack.jobs import SELECTED, Job, Op, Resident, Route, Slot, Snapshot, Transition
from aistack.jobs import events as ev
from aistack.jobs.effects import Emit, OpenStream
from aistack.run.process import EngineSettings
from aistack.run.runner import Runner
from aistack.run.scheduler import Scheduler
from aistack.wire.tokens import ChatCompletion, TokenEvents
from contrib.bench.harness import ROOT, Row, median

TINY = ROOT / "tests" / "data" / "models" / "tiny-nanochat"
D12 = {
    "sequence_len": 2048,
    "vocab_size": 65536,
    "n_layer": 12,
    "n_head": 6,
    "n_kv_head": 6,
    "n_embd": 768,
}
LIMIT_S = 300.0


def make_random(root: Path, tag: str, seed: int) -> None:
    """A checkpoint of the size of d12 with random weights, and a vocabulary of 65536 entries."""
    import pickle

    import tiktoken
    import torch

    from aistack.backends.nano_tokenizer import ASSISTANT, BOS, USER

    torch.manual_seed(seed)
    width, layers, rows = D12["n_embd"], D12["n_layer"], D12["vocab_size"]
    state = {"transformer.wte.weight": torch.randn(rows, width).bfloat16()}
    state["lm_head.weight"] = torch.randn(rows, width) * 0.05
    square, up, down = (width, width), (4 * width, width), (width, 4 * width)
    for layer in range(layers):
        for part in ("attn.c_q", "attn.c_k", "attn.c_v", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"):
            shape = {"mlp.c_fc": up, "mlp.c_proj": down}.get(part, square)
            state[f"transformer.h.{layer}.{part}.weight"] = torch.randn(shape) * width**-0.5
    folder = root / tag
    (folder / "tokenizer").mkdir(parents=True)
    torch.save(state, folder / "model_000001.pt")
    (folder / "meta_000001.json").write_text(json.dumps({"model_config": D12}))
    tools = tuple(f"<|{tool}_{end}|>" for tool in ("python", "output") for end in ("start", "end"))
    names = (BOS, *USER, *ASSISTANT, *tools)
    ranks = {bytes([value]): value for value in range(256)}
    for number in range(rows - len(names) - 256):
        ranks[bytes(divmod(number, 256))] = 256 + number
    encoding = tiktoken.Encoding(
        name="random",
        pat_str=r"\s+|\S+",
        mergeable_ranks=ranks,
        special_tokens={name: rows - len(names) + place for place, name in enumerate(names)},
    )
    (folder / "tokenizer" / "tokenizer.pkl").write_bytes(pickle.dumps(encoding))


def request(tokens: int, seed: int) -> Generate:
    """Sampled, so that every token is a different one; the same on both sides."""
    return Generate((Message("user", "Count to sixty."),), 1.0, 50, tokens, seed=seed)


# --- the engine called directly -----------------------------------------------------------------------


def direct_main(path: str) -> None:
    """The reference: one process, one engine, orders as lines of JSON."""
    import threading

    from aistack.backends.nanochat import Nanochat
    from aistack.chunks import Token

    engine = Nanochat()
    engine.load(ModelSpec(Path(path).name, path, "cpu", {"threads": 1}), lambda progress: None)
    print(json.dumps({"loaded": True}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        begin = time.perf_counter()
        texts = [
            item.text
            for item in engine.run(request(order["tokens"], order["seed"]), threading.Event())
            if isinstance(item, Token)
        ]
        took = time.perf_counter() - begin
        print(json.dumps({"s": took, "text": "".join(texts)}), flush=True)


class Direct:
    """That process; `loaded_s` is what starting it, importing and loading took."""

    def __init__(self, path: Path) -> None:
        begin = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "contrib.bench.generate", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        self.read()
        self.loaded_s = time.perf_counter() - begin

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def ask(self, tokens: int, seed: int) -> tuple[float, str]:
        """Seconds, and the text."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"tokens": tokens, "seed": seed}) + "\n")
        self.process.stdin.flush()
        answer = self.read()
        return answer["s"], answer["text"]

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


# --- the same through scheduler, runner and engine process --------------------------------------------


class Service:
    """One slot. Answers are read from their outlets as the delivery would."""

    def __init__(self, root: Path, spare: bool) -> None:
        self.root = root
        self.ended: dict[str, Transition] = {}
        self.scheduler = Scheduler(Snapshot((Slot("cpu"),)), [self._note])
        settings = EngineSettings(
            "nanochat", "aistack.backends.nanochat:Nanochat", "nanochat", sys.executable, 3, 120, 120, 0
        )
        self.runner = Runner(
            self.scheduler.post, self.scheduler.ready, self._spec, {"nanochat": settings}, spare=spare
        )
        self.scheduler.steps = self.runner

    def _note(self, transition: Transition) -> None:
        if transition.target.value == "done":
            self.ended[transition.job.id] = transition

    def _spec(self, resident: Resident, device: str) -> ModelSpec:
        found = nano_weights.find(self.root, resident.model)
        return ModelSpec(found.tag, found.path, device, {"threads": 1})

    async def swap(self, tag: str) -> float:
        """Seconds from the order to the end of the job."""
        route = Route("nanochat", tag, Vram.OWN)
        wire = ChatCompletion("", 0, tag, stream=False)
        name = job_id()
        begin = time.perf_counter()
        self.scheduler.submit(Job(name, name, Op.SWAP, route, None, _Accepts(wire)))
        await asyncio.wait_for(self.scheduler.quiet(), LIMIT_S)
        took = time.perf_counter() - begin
        outcome = self.ended[name].job.outcome
        assert outcome is not None
        assert outcome.ended.value == "ok", outcome
        return took

    async def ask(self, tokens: int, seed: int) -> tuple[float, str]:
        """Seconds from the order to the closed stream, and the text."""
        begin = time.perf_counter()
        _, outlet = self._submit(tokens, seed)
        answer = await asyncio.wait_for(outlet.collect(), LIMIT_S)
        took = time.perf_counter() - begin
        frames = [effect.frame for effect in answer if isinstance(effect, Emit)]
        events = [json.loads(frame.removeprefix(b"data: ")) for frame in frames]
        assert events[-1] == {"done": True}, events[-1]
        return took, "".join(event.get("token", "") for event in events)

    async def leave(self, tokens: int, seed: int) -> tuple[float, float]:
        """Seconds from leaving after some tokens to a free slot, and seconds a token takes."""
        job, outlet = self._submit(tokens, seed)
        assert isinstance(await asyncio.wait_for(outlet.get(), LIMIT_S), OpenStream)
        times = []
        for _ in range(12):
            await asyncio.wait_for(outlet.get(), LIMIT_S)
            times.append(time.perf_counter())
        begin = time.perf_counter()
        self.scheduler.post(ev.ClientGone(job.id))
        await asyncio.wait_for(self.scheduler.quiet(), LIMIT_S)
        took = time.perf_counter() - begin
        return took, median([b - a for a, b in pairwise(times)])

    def _submit(self, tokens: int, seed: int) -> tuple[Job, Any]:
        name = job_id()
        route = Route("nanochat", SELECTED, Vram.OWN)
        job = Job(name, name, Op.GENERATE, route, request(tokens, seed), TokenEvents())
        return job, self.scheduler.submit(job)


class _Accepts:
    """The wire of a change of weights that nobody reads."""

    streams = False

    def __init__(self, wire: ChatCompletion) -> None:
        self.head, self.frame, self.tail, self.fault = wire.head, wire.frame, wire.tail, wire.fault

    def body(self, parts: Any, result: Any) -> Any:
        from aistack.wire.base import Answer

        return Answer(202, b"")


@contextlib.asynccontextmanager
async def serving(root: Path, spare: bool = False) -> AsyncIterator[Service]:
    service = Service(root, spare)
    task = asyncio.create_task(service.scheduler.run())
    try:
        yield service
    finally:
        await service.runner.close()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class Peak:
    """The largest sum of resident bytes of our children, looked at every 20 ms."""

    def __init__(self) -> None:
        self.bytes = 0

    async def __aenter__(self) -> Peak:
        self.task = asyncio.create_task(self._look())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()

    async def _look(self) -> None:
        me = psutil.Process()
        while True:
            total = 0
            for child in me.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    total += child.memory_info().rss
            self.bytes = max(self.bytes, total)
            await asyncio.sleep(0.02)


async def speed(root: Path, tag: str, tokens: int, pairs: int) -> list[Row]:
    """Tokens per second and the way from a client that leaves to a free slot."""
    direct = Direct(root / tag)
    rates: list[float] = []
    references: list[float] = []
    try:
        async with serving(root) as service:
            await service.swap(tag)
            await service.ask(4, 0)
            direct.ask(4, 0)
            for seed in range(1, pairs + 1):
                one, text = await service.ask(tokens, seed)
                other, same = await asyncio.to_thread(direct.ask, tokens, seed)
                assert text == same, "the two sides said different things"
                rates.append(tokens / one)
                references.append(tokens / other)
            left = [await service.leave(400, seed) for seed in range(min(pairs, 8))]
    finally:
        direct.close()
    ratio = median([a / b for a, b in zip(rates, references, strict=True)])
    late = max(took - (2 * step + 0.02) for took, step in left)
    return [
        Row(
            f"{tag}: tokens/s",
            f"{median(rates):.1f}",
            f"{median(references):.1f}",
            ratio,
            ">= 0.95",
            ratio >= 0.95,
        ),
        Row(
            f"{tag}: client leaves -> slot free, ms",
            f"{1000 * median([took for took, _ in left]):.1f} (max {1000 * max(left)[0]:.1f})",
            f"one token {1000 * median([step for _, step in left]):.1f}",
            None,
            "<= 2 tokens + 20 ms",
            late <= 0,
        ),
    ]


async def swaps(root: Path, tags: tuple[str, str], pairs: int) -> list[Row]:
    """A change of weights without a drain, against a fresh interpreter that loads the same."""
    cold: list[float] = []
    warm: list[float] = []
    fresh: list[float] = []
    async with serving(root) as service, Peak() as peak:
        await service.swap(tags[1])
        single = 0
        for turn in range(pairs):
            tag = tags[turn % 2]
            peak.bytes = 0
            cold.append(await service.swap(tag))
            single = max(single, peak.bytes)
            direct = await asyncio.to_thread(Direct, root / tag)
            fresh.append(direct.loaded_s)
            direct.close()
    async with serving(root, spare=True) as service:
        await service.swap(tags[1])
        await service.swap(tags[0])
        for turn in range(pairs):
            await asyncio.wait_for(asyncio.gather(*service.runner._chores), LIMIT_S)
            await asyncio.sleep(max(fresh) * 1.5)  # its imports
            warm.append(await service.swap(tags[(turn + 1) % 2]))
    ratio = median([a / b for a, b in zip(cold, fresh, strict=True)])
    name = f"swap of {tags[0]}"
    seconds = f"{median(fresh):.2f}"
    return [
        Row(f"{name}, s", f"{median(cold):.2f}", seconds, ratio, "<= 1.1", ratio <= 1.1),
        Row(
            f"{name} with a warm spare, s",
            f"{median(warm):.2f}",
            seconds,
            median(warm) / median(fresh),
            "-",
            None,
        ),
        Row(f"{name}: peak memory of engines, MB", f"{single / 1e6:.0f}", "", None, "-", None),
    ]


def run(quick: bool) -> list[Row]:
    """All rows."""
    rows = asyncio.run(speed(TINY, "tiny-ada", 100, 5 if quick else 20))
    rows += asyncio.run(swaps(TINY, ("tiny-ada", "tiny-bo"), 2 if quick else 5))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_random(root, "d12-one", 1)
        make_random(root, "d12-two", 2)
        rows += asyncio.run(speed(root, "d12-one", 32 if quick else 64, 3 if quick else 8))
        rows += asyncio.run(swaps(root, ("d12-one", "d12-two"), 2 if quick else 5))
    return rows


if __name__ == "__main__":
    direct_main(sys.argv[1])
