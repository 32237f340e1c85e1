"""Tokens from local weights, through Hugging Face transformers: the engine behind `/generate`.

It serves nanochat checkpoints of the 2025 architecture (converted while they load) and directories
of any causal language model that the library knows; code that comes with weights is never run. The
loop is our own: one forward pass per token over a cache of keys and values, the cancel token looked
at before each, so that a client that leaves frees the slot within a token.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aistack.chunks import Generated, GenerationRequest, ModelSpec, Progress, Report, Token
from aistack.config.installing import libraries
from aistack.engines.base import (
    CancelToken,
    EngineDefaults,
    OfferedModel,
    OperatorModels,
    Yielded,
    missing,
)
from aistack.engines.nanochat import weights as nano_weights
from aistack.engines.nanochat.convert import unusable_weights
from aistack.engines.nanochat.detokenize import StopStrings
from aistack.engines.nanochat.loaded import LoadedModel, dtype_of, forward, load_weights
from aistack.engines.nanochat.sampling import Sampler
from aistack.engines.nanochat.weights import PROVIDER
from aistack.engines.out_of_memory import is_out_of_memory, type_names
from aistack.engines.torch_common import torch_device
from aistack.errors import BackendFault, ErrorKind, context_overflow, out_of_memory

if TYPE_CHECKING:
    import torch

PREFILL = 128
"""Tokens of the prompt computed at a time: how long a cancelled request may go on before its first."""


class Nanochat(EngineDefaults):
    """An Engine: see `engines.base`. `ModelSpec.source` is a directory of weights.

    Options: `dtype` (auto, float32, bfloat16, float16; auto is float32 on a processor, bfloat16 or
    float16 on a card), `threads` (0: the library's choice). `ModelSpec.slot` stands in token events.
    Devices: `cpu`, `cpu:N` (several slots on one processor), `cuda`, `cuda:N`, `mps`, `auto`.
    """

    name = "nanochat"
    provider = PROVIDER
    requires: tuple[str, ...] = ("torch", "transformers", "tokenizers")
    kill_after_s = 3.0
    operator_models = OperatorModels.TAGS

    def __init__(self) -> None:
        self._loaded: LoadedModel | None = None

    @property
    def install(self) -> str:
        return libraries(extra="nanochat")

    def models(self) -> tuple[OfferedModel, ...]:
        """No models of its own: `nanochat.weights` finds the directories of weights."""
        return ()

    def weights(self, model: ModelSpec, environ: Mapping[str, str]) -> bool:
        return nano_weights.inspect(model.id, Path(model.source)) is not None

    def warm(self) -> None:
        """Import torch and the parts of transformers that a load needs."""
        os.environ["HF_HUB_OFFLINE"] = "1"
        import torch  # noqa: F401
        from transformers import (  # noqa: F401
            AutoModelForCausalLM,
            NanoChatConfig,
            NanoChatForCausalLM,
        )

    def load(self, model: ModelSpec, report: Report) -> None:
        """Read the weights into memory and run them once. Raises BackendFault, MemoryError."""
        try:
            self.warm()
            import torch
            from transformers.utils import logging
        except ModuleNotFoundError as exc:
            raise BackendFault(missing(self)) from exc

        logging.disable_progress_bar()
        threads = int(model.options.get("threads") or 0)
        if threads > 0:
            torch.set_num_threads(threads)
        found = nano_weights.inspect(model.id, Path(model.source))
        if found is None:
            raise unusable_weights(model.id, "their folder is gone or contains no weights.")
        device = torch_device(model.device)
        dtype = dtype_of(str(model.options.get("dtype") or "auto"), device)
        try:
            self._loaded = load_weights(found, str(device), dtype, model.slot, report)
        except Exception as exc:
            if is_out_of_memory(exc):
                raise BackendFault(out_of_memory(self.provider, "load the weights")) from exc
            raise

    def run(
        self, request: GenerationRequest, cancel: CancelToken
    ) -> Generator[Yielded, None, Generated]:
        """Token chunks; never a stop token. Raises BackendFault, among others `context_overflow`."""
        loaded = self._loaded
        assert loaded is not None
        prompt = loaded.format.prompt(request.messages)
        budget = room(loaded.context, len(prompt), request.max_tokens)
        sampler = Sampler(request.temperature, request.top_k, request.seed, loaded.device)
        decoder = loaded.detokenizer.decoder()
        stops = StopStrings(request.stop)
        made, reason = 0, "length"
        steps = _steps(loaded, prompt, budget, sampler, cancel)
        for token in steps:
            if token is None:
                yield Progress(float(made), float(budget), "tokens")
                continue
            made += 1
            if token in loaded.stops:
                reason = "stop"
                break
            text = stops.feed(decoder.feed(token))
            if text:
                yield Token(text, loaded.slot)
            if stops.met:
                reason = "stop"
                break
            yield Progress(float(made), float(budget), "tokens")
        steps.close()
        if not cancel.is_set():
            rest = stops.feed(decoder.end()) + stops.end()
            if rest:
                yield Token(rest, loaded.slot)
        return Generated(made, reason, len(prompt))

    def kind_of(self, exc: BaseException) -> ErrorKind | None:
        if is_out_of_memory(exc):
            return ErrorKind.OVERFLOW
        if "SafetensorError" in type_names(exc) or isinstance(exc, OSError | ImportError):
            return ErrorKind.NETWORK
        return None


def room(context: int | None, prompt: int, limit: int | None) -> int:
    """How many tokens may be made. Raises BackendFault 400 `context_overflow`."""
    if context is None:
        return limit if limit is not None else 512
    left = context - prompt
    if left < (1 if limit is None else limit):
        raise BackendFault(context_overflow(PROVIDER, prompt, limit, context))
    return left if limit is None else limit


def _steps(
    loaded: LoadedModel, prompt: list[int], budget: int, sampler: Sampler, cancel: CancelToken
) -> Generator[int | None, None, None]:
    """The tokens, one forward pass each; None for each further part of the prompt that is computed."""
    import torch

    cache: Any = None

    def advance(ids: list[int]) -> torch.Tensor:
        nonlocal cache
        logits, cache = forward(loaded, torch.tensor([ids], device=loaded.device), cache)
        return logits

    parts = [prompt[at : at + PREFILL] for at in range(0, len(prompt), PREFILL)]
    for part in parts[:-1]:
        if cancel.is_set():
            return
        advance(part)
        yield None
    ids = parts[-1]
    for _ in range(budget):
        if cancel.is_set():
            return
        token = sampler(advance(ids))
        yield token
        ids = [token]
