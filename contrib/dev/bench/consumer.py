"""A consumer of the internal API like samosaChaat's chat service, while the weights change under it.

It does what that service does: httpx with one shared client, 5 s to connect and 60 s of silence at
most, lines that begin with `data:`, a reply counted only if `done` was seen; a 503 is tried again
after the time that `Retry-After` names. The two tiny weights answer every question differently, so
each answer tells which of them gave it.

    python -m contrib.dev.bench.consumer [--conversations 500] [--swaps 20] [--slots cpu:0,cpu:1]

fails if any answer is truncated, cut, given up, or from old weights after their swap was done.
Needs torch and transformers, and the `test` extra.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import Callable

import httpx
from attrs import define, field, frozen

from contrib.dev.bench.harness import ROOT, serving
from contrib.dev.tiny_models.nanochat.nanochat_lessons import CHARACTERS

WEIGHTS = ROOT / "tests" / "data" / "models" / "tiny-nanochat"
TAGS = ("tiny-ada", "tiny-bo")
KEY = "bench"
CONNECT_S, SILENCE_S = 5.0, 60.0
TRIES_MAX = 200
SWAP_S = 120.0
LOOK_S = 0.05


@frozen
class Answered:
    """One conversation: when it was sent (last try) and over, and whose answer it was."""

    sent: float
    over: float
    tag: str
    tries: int
    silence: float


@frozen
class Swap:
    """One change of weights; `done` is when the consumer first saw that it was."""

    tag: str
    asked: float
    done: float


@define
class Report:
    """What happened. `problems` must stay empty."""

    answered: list[Answered] = field(factory=list)
    swaps: list[Swap] = field(factory=list)
    refusals: int = 0
    problems: list[str] = field(factory=list)

    def judge(self) -> None:
        """No answer from old weights after its swap was done: by what was said, and when."""
        for one in self.answered:
            finished = [swap for swap in self.swaps if swap.done <= one.sent]
            if not finished:
                continue
            begun = [swap.tag for swap in self.swaps[len(finished) :] if swap.asked < one.over]
            if one.tag not in (finished[-1].tag, *begun):
                self.problems.append(f"old weights answered: {one} after {finished[-1]}")

    def lines(self) -> list[str]:
        retried = [one for one in self.answered if one.tries > 1]
        by_tag = {tag: sum(one.tag == tag for one in self.answered) for tag in TAGS}
        took = [swap.done - swap.asked for swap in self.swaps]
        middle = statistics.median(took) if took else 0.0
        return [
            f"conversations answered whole: {len(self.answered)} ({by_tag})",
            f"swaps done: {len(self.swaps)}, median {middle:.2f} s, "
            f"max {max(took, default=0.0):.2f} s from the call to the end seen",
            f"503s: {self.refusals}; conversations that met one: {len(retried)}, all answered after it",
            f"longest silence within an answer: "
            f"{max((one.silence for one in self.answered), default=0.0):.2f} s",
            f"problems: {len(self.problems)}",
            *self.problems,
        ]


@frozen
class Reply:
    """What one call brought. `text` is none if it ended without done."""

    status: int
    text: str | None
    retry_after: float
    silence: float
    note: str = ""


class Consumer:
    """The chat service's way of asking."""

    def __init__(self, url: str, key: str) -> None:
        timeout = httpx.Timeout(SILENCE_S, connect=CONNECT_S)
        limits = httpx.Limits(max_connections=100)
        headers = {"X-Internal-API-Key": key}
        self.http = httpx.AsyncClient(base_url=url, timeout=timeout, limits=limits, headers=headers)

    async def generate(self, question: str, trace: str) -> Reply:
        """One call: the four fields, all present. Raises httpx.HTTPError where the line is cut."""
        body = {
            "messages": [{"role": "user", "content": question}],
            "temperature": 0.0,
            "top_k": 50,
            "max_tokens": 512,
        }
        silence, last = 0.0, time.monotonic()
        async with self.http.stream(
            "POST", "/generate", json=body, headers={"x-trace-id": trace}
        ) as response:
            if response.status_code >= 400:
                text = (await response.aread()).decode()
                wait = float(response.headers.get("Retry-After", "nan"))
                return Reply(response.status_code, None, wait, 0.0, text[:200])
            parts: list[str] = []
            async for line in response.aiter_lines():
                now = time.monotonic()
                silence, last = max(silence, now - last), now
                if not line.startswith("data:"):
                    continue
                event = json.loads(line[5:])
                if event.get("error"):
                    return Reply(200, None, 0.0, silence, json.dumps(event))
                if event.get("done"):
                    return Reply(200, "".join(parts), 0.0, silence)
                parts.append(event["token"])
            return Reply(200, None, 0.0, silence, "the stream ended without done")

    async def swap(self, tag: str) -> None:
        """Order a change, and look at /stats until it is over. Raises RuntimeError if it failed."""
        answer = await self.http.post("/models/swap", json={"model_tag": tag})
        if answer.status_code != 202:
            raise RuntimeError(f"swap to {tag}: {answer.status_code} {answer.text[:200]}")
        async with asyncio.timeout(SWAP_S):
            while True:
                told = (await self.http.get("/stats")).json()["last_swap"]
                if told["model_tag"] == tag and told["status"] == "ok":
                    return
                if told["status"] == "failed":
                    raise RuntimeError(f"swap to {tag}: {told['error']}")
                await asyncio.sleep(LOOK_S)


@define
class Drive:
    """Some conversations at once, and swaps among them, evenly."""

    consumer: Consumer
    conversations: int
    swaps: int
    workers: int
    wait_most: float
    report: Report = field(factory=Report)
    begun: int = 0
    _moved: asyncio.Condition = field(factory=asyncio.Condition)

    async def run(self) -> Report:
        talking = [asyncio.create_task(self._talk()) for _ in range(self.workers)]
        changing = asyncio.create_task(self._change())
        try:
            await asyncio.gather(*talking, changing)
        finally:
            for task in (*talking, changing):
                task.cancel()
            await self.consumer.http.aclose()
        self.report.judge()
        return self.report

    async def _talk(self) -> None:
        dice = random.Random(self.begun)
        while self.begun < self.conversations:
            self.begun += 1
            number = self.begun
            question = dice.choice(sorted(CHARACTERS[TAGS[0]]))
            try:
                await self._converse(number, question)
            except (httpx.HTTPError, ValueError, KeyError) as exc:
                self.report.problems.append(f"conversation {number} was cut: {exc!r}")
            async with self._moved:
                self._moved.notify_all()

    async def _converse(self, number: int, question: str) -> None:
        """Ask until there is an answer."""
        for tries in range(1, TRIES_MAX + 1):
            sent = time.monotonic()
            reply = await self.consumer.generate(question, f"conversation.{number}")
            if reply.status == 503 and reply.retry_after > 0:
                self.report.refusals += 1
                await asyncio.sleep(min(reply.retry_after, self.wait_most))
                continue
            says = {CHARACTERS[tag][question]: tag for tag in TAGS}
            if reply.text not in says:
                self.report.problems.append(
                    f"conversation {number}: {reply.status} {reply.text!r} {reply.note}"
                )
                return
            tag = says[reply.text]
            self.report.answered.append(Answered(sent, time.monotonic(), tag, tries, reply.silence))
            return
        self.report.problems.append(f"conversation {number} was given up after {TRIES_MAX} tries")

    async def _change(self) -> None:
        """Back and forth, whenever another share of the conversations is over."""
        for number in range(self.swaps):
            share = self.conversations * (number + 1) // (self.swaps + 1)
            await self._until(lambda share=share: self._over() >= share)  # type: ignore[misc]
            tag = TAGS[(number + 1) % 2]
            asked = time.monotonic()
            try:
                await self.consumer.swap(tag)
            except (RuntimeError, TimeoutError, httpx.HTTPError) as exc:
                self.report.problems.append(f"swap {number + 1}: {exc!r}")
                return
            self.report.swaps.append(Swap(tag, asked, time.monotonic()))

    def _over(self) -> int:
        return len(self.report.answered) + len(self.report.problems)

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with self._moved:
            await self._moved.wait_for(holds)


async def drive(
    url: str, key: str, conversations: int, swaps: int, workers: int = 8, wait_most: float = SILENCE_S
) -> Report:
    """Talk to a service on which tiny-ada is current. `wait_most` caps what Retry-After asks for."""
    return await Drive(Consumer(url, key), conversations, swaps, workers, wait_most).run()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m contrib.dev.bench.consumer", description=__doc__)
    parser.add_argument("--conversations", type=int, default=500)
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument("--workers", type=int, default=8, help="conversations at once")
    parser.add_argument("--slots", default="cpu", help="devices, separated by commas")
    parser.add_argument("--spare", choices=("on", "off"), default="off")
    options = parser.parse_args()
    settings = {
        "AISTACK_INFERENCE__API_KEY": KEY,
        "AISTACK_INFERENCE__ROOT": str(WEIGHTS),
        "AISTACK_INFERENCE__MODEL": TAGS[0],
        "AISTACK_SLOTS__DEVICES": options.slots,
    }
    with serving(spare=options.spare, **settings) as server:
        url = f"http://127.0.0.1:{server.port}"
        report = asyncio.run(drive(url, KEY, options.conversations, options.swaps, options.workers))
    print("\n".join(report.lines()))
    complete = len(report.answered) == options.conversations and len(report.swaps) == options.swaps
    sys.exit(0 if complete and not report.problems else 1)


if __name__ == "__main__":
    main()
