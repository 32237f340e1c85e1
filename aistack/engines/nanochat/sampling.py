"""The next token from the logits: top-k, temperature, softmax, draw, in this order."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from aistack.errors import BackendFault, Code, ErrorKind, Fault

if TYPE_CHECKING:
    import torch

COLDEST = 1e-6
"""Below this, dividing by the temperature means nothing but the likeliest token."""


class Sampler:
    """Draws the tokens of one answer. `seed` none: fresh randomness."""

    def __init__(self, temperature: float, top_k: int, seed: int | None, device: str) -> None:
        import torch

        self._temperature = temperature
        self._top_k = top_k
        self._greedy = temperature < COLDEST
        self._generator = torch.Generator(device)
        if seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(seed & 0x7FFFFFFFFFFFFFFF)

    def __call__(self, logits: torch.Tensor) -> int:
        """The id drawn from the logits of one position, shape (vocabulary,). Raises BackendFault."""
        import torch

        count = 1 if self._greedy else self._top_k or logits.shape[-1]
        best, ids = torch.topk(logits.float(), min(count, logits.shape[-1]))
        if not math.isfinite(best[0].item()):
            raise BackendFault(
                Fault(
                    ErrorKind.UNKNOWN,
                    Code.INTERNAL_ERROR,
                    "The model produced NaN or infinite values; try another nanochat.dtype.",
                    "nanochat",
                )
            )
        if self._greedy:
            return int(ids[0])
        shares = torch.softmax((best - best[0]) / self._temperature, dim=-1)
        return int(ids[torch.multinomial(shares, 1, generator=self._generator)])
