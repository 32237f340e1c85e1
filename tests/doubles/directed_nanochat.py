"""The real engine with real weights, and stage directions for tests.

Leading messages that begin with "@" never reach the model:

    @gate:NAME   stop after the first token, until the gate lets us pass
    @hold:NAME   stop before the first token
    @fail        raise after the first token
    @crash       die after the first token
    @echo        say the options that came, instead of an answer
    @ids         say the ids of the prompt, instead of an answer

What a load does before its real work is scripted as for the fake engine.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Generator

from attrs import evolve

from aistack.chunks import Generated, GenerationRequest, ModelSpec, Report, Token
from aistack.engines.base import CancelToken, Yielded
from aistack.engines.fake import FakeEngine, crash, pass_gate
from aistack.engines.nanochat.engine import Nanochat


class Directed(Nanochat):
    def load(self, model: ModelSpec, report: Report) -> None:
        FakeEngine().load(model, report)
        super().load(model, report)

    def run(
        self, request: GenerationRequest, cancel: CancelToken
    ) -> Generator[Yielded, None, Generated]:
        directions = []
        while request.messages and request.messages[0].content.startswith("@"):
            directions.append(request.messages[0].content[1:])
            request = evolve(request, messages=request.messages[1:])
        if "echo" in directions or "ids" in directions:
            assert self._loaded is not None
            told = (
                self._loaded.format.prompt(request.messages)
                if "ids" in directions
                else [request.temperature, request.top_k, request.max_tokens]
            )
            yield Token(json.dumps(told), self._loaded.slot)
            return Generated(1, "stop", 1)
        return (yield from self._directed(directions, request, cancel))

    def _directed(
        self, directions: list[str], request: GenerationRequest, cancel: CancelToken
    ) -> Generator[Yielded, None, Generated]:
        for direction in directions:
            if direction.startswith("hold:"):
                pass_gate(direction.removeprefix("hold:"), cancel)
        run = super().run(request, cancel)
        first = True
        while True:
            try:
                item = next(run)
            except StopIteration as stop:
                result: Generated = stop.value
                return result
            yield item
            if first and isinstance(item, Token):
                first = False
                for direction in directions:
                    follow(direction, cancel)


def follow(direction: str, cancel: threading.Event | CancelToken) -> None:
    """What happens after the first token."""
    match direction.partition(":"):
        case ("gate", _, name):
            pass_gate(name, cancel)
        case ("fail", _, _):
            raise RuntimeError("made up: secret words")
        case ("crash", _, _):
            crash("kill")
        case ("hold", _, _):
            pass
        case other:
            raise ValueError(f"no such direction: {other}")
