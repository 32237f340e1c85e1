"""The real engine with a gate after its first token, for requests that carry a seed.

The seed only names the gate: the requests of these tests are greedy.
"""

from __future__ import annotations

from collections.abc import Generator

from aistack.chunks import Generated, GenerationRequest, Token
from aistack.engines.base import CancelToken, Yielded
from aistack.engines.fake import pass_gate
from aistack.engines.nanochat.engine import Nanochat


class Gated(Nanochat):
    def run(
        self, request: GenerationRequest, cancel: CancelToken
    ) -> Generator[Yielded, None, Generated]:
        run = super().run(request, cancel)
        waiting = request.seed is not None
        while True:
            try:
                item = next(run)
            except StopIteration as stop:
                result: Generated = stop.value
                return result
            yield item
            if waiting and isinstance(item, Token):
                waiting = False
                pass_gate(str(request.seed), cancel)
