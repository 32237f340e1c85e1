"""Tokens from local weights, through Hugging Face transformers: the engine behind `/generate`.

It serves nanochat checkpoints of the 2025 architecture (converted while they load) and directories
of any causal language model that the library knows; code that comes with weights is never run. The
loop is our own: one forward pass per token over a cache of keys and values, the cancel token looked
at before each, so that a client that leaves frees the slot within a token.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from aistack.chunks import Generated, GenerationRequest, ModelSpec, Progress, Report, Token
from aistack.devices import Device
from aistack.engines.base import CancelToken, ModelCard, Yielded, missing
from aistack.engines.nanochat import convert as nano_convert
from aistack.engines.nanochat import weights as nano_weights
from aistack.engines.nanochat.detokenize import Detokenizer, StopStrings
from aistack.engines.nanochat.heartbeat import reported
from aistack.engines.nanochat.prompt import Format, NanochatFormat, PlainFormat, TemplateFormat
from aistack.engines.nanochat.sampling import Sampler
from aistack.engines.nanochat.tokenizer import read_tokenizer, speaks_nanochat
from aistack.engines.nanochat.weights import PROVIDER, Weights
from aistack.engines.torch_common import torch_device
from aistack.errors import BackendFault, Code, ErrorKind, Fault, out_of_memory

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

PREFILL = 128
"""Tokens of the prompt computed at a time: how long a cancelled request may go on before its first."""

MEMORY_WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory", "bad_alloc")


@frozen
class LoadedModel:
    """What one `load` made ready. `context` is in tokens, none where the model does not say."""

    model: Any
    format: Format
    detokenizer: Detokenizer
    stops: frozenset[int]
    context: int | None
    device: str
    slot: int
    keeps: bool


class Nanochat:
    """An Engine: see `engines.base`. `ModelSpec.source` is a directory of weights.

    Options: `dtype` (auto, float32, bfloat16, float16; auto is float32 on a processor, bfloat16 or
    float16 on a card), `threads` (0: the library's choice), `slot` (the number in token events).
    Devices: `cpu`, `cpu:N` (several slots on one processor), `cuda`, `cuda:N`, `mps`, `auto`.
    """

    name = "nanochat"
    provider = PROVIDER
    requires: tuple[str, ...] = ("torch", "transformers", "tokenizers")
    install = "pip install torch transformers tiktoken"
    kill_after_s = 3.0

    def __init__(self) -> None:
        self._loaded: LoadedModel | None = None

    def cards(self) -> tuple[ModelCard, ...]:
        """None: which weights there are is asked of `nanochat.weights`."""
        return ()

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
            raise nano_convert.refused(model.id, "their folder is gone or holds no weights.")
        device = torch_device(model.device)
        dtype = dtype_of(str(model.options.get("dtype") or "auto"), device)
        try:
            self._loaded = _load(found, str(device), dtype, int(model.options.get("slot") or 0), report)
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
        names = {kind.__name__ for kind in type(exc).__mro__}
        if "SafetensorError" in names or isinstance(exc, OSError | ImportError):
            return ErrorKind.NETWORK
        return None


def room(context: int | None, prompt: int, wanted: int | None) -> int:
    """How many tokens may be made. Raises BackendFault 400 `context_overflow`."""
    if context is None:
        return wanted if wanted is not None else 512
    left = context - prompt
    if left < (1 if wanted is None else wanted):
        asked = "" if wanted is None else f" and max_tokens {wanted}"
        raise BackendFault(
            Fault(
                ErrorKind.MALFORMED,
                Code.CONTEXT_OVERFLOW,
                f"The conversation ({prompt} tokens){asked} need more than the {context} tokens that "
                "these weights can look back on. Shorten the conversation or lower max_tokens.",
                PROVIDER,
                param="messages" if left < 1 else "max_tokens",
            )
        )
    return left if wanted is None else wanted


def _steps(
    loaded: LoadedModel, prompt: list[int], budget: int, sampler: Sampler, cancel: CancelToken
) -> Generator[int | None, None, None]:
    """The tokens, one forward pass each; none for each further part of the prompt that is computed."""
    import torch

    cache: Any = None

    def forward(ids: list[int]) -> torch.Tensor:
        nonlocal cache
        logits, cache = _forward(loaded, torch.tensor([ids], device=loaded.device), cache)
        return logits

    parts = [prompt[at : at + PREFILL] for at in range(0, len(prompt), PREFILL)]
    for part in parts[:-1]:
        if cancel.is_set():
            return
        forward(part)
        yield None
    ids = parts[-1]
    for _ in range(budget):
        if cancel.is_set():
            return
        token = sampler(forward(ids))
        yield token
        ids = [token]


def _forward(loaded: LoadedModel, ids: torch.Tensor, cache: Any) -> tuple[torch.Tensor, Any]:
    """The logits of the last position, and the cache grown by all of them (none: a new one)."""
    import torch

    extra = {"logits_to_keep": 1} if loaded.keeps else {}
    with torch.inference_mode():
        answer = loaded.model(input_ids=ids, past_key_values=cache, use_cache=True, **extra)
        return answer.logits[0, -1], getattr(answer, "past_key_values", None)


# --- loading ----------------------------------------------------------------------------------------


def dtype_of(name: str, device: Device) -> torch.dtype:
    """The dtype to compute in. Raises BackendFault for a name that is none."""
    import torch

    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name == "auto":
        if device.is_cuda:
            return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        return torch.float32
    if name not in known:
        raise BackendFault(
            Fault(
                ErrorKind.NETWORK,
                Code.NOT_CONFIGURED,
                "nanochat.dtype must be auto, float32, bfloat16 or float16.",
                PROVIDER,
            )
        )
    return known[name]


def _load(found: Weights, device: str, dtype: torch.dtype, slot: int, report: Report) -> LoadedModel:
    path = Path(found.path)
    checkpoint = nano_weights.latest(path)
    if checkpoint is not None:
        file = nano_weights.tokenizer_file(path)
        if file is None:
            raise nano_convert.refused(found.tag, "their tokenizer is missing.")
        tokenizer = read_tokenizer(file)
        model = nano_convert.load(checkpoint, found.tag, tokenizer, device, dtype, report)
        chat: Format = NanochatFormat(tokenizer)
    else:
        files = [file for file in path.iterdir() if file.suffix in (".safetensors", ".bin")]
        with reported(report, float(sum(file.stat().st_size for file in files))):
            model = _load_directory(found, device, dtype)
        tokenizer, chat = _directory_format(found)
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    loaded = LoadedModel(
        model,
        chat,
        Detokenizer(tokenizer),
        frozenset(_stops(model, tokenizer, chat)),
        context if isinstance(context, int) and context > 0 else None,
        device,
        slot,
        "logits_to_keep" in inspect.signature(model.forward).parameters,
    )
    _try_out(loaded, found.tag)
    return loaded


def _try_out(loaded: LoadedModel, tag: str) -> None:
    """One pass over one token: what cannot run fails the load, not the first request."""
    import torch

    begin = min(loaded.stops, default=0)
    _, cache = _forward(loaded, torch.tensor([[begin]], device=loaded.device), None)
    if cache is None:
        raise nano_convert.refused(tag, "they are of a kind that cannot be continued token by token.")


def _load_directory(found: Weights, device: str, dtype: torch.dtype) -> Any:
    """A Hugging Face directory, exactly as it was saved. Raises BackendFault."""
    import pickle

    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    if found.problem:
        raise nano_convert.refused(found.tag, found.problem)
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            found.path,
            local_files_only=True,
            trust_remote_code=False,
            dtype=dtype,
            output_loading_info=True,
        )
    except (SafetensorError, pickle.UnpicklingError, OSError) as exc:
        raise nano_convert.refused(found.tag, nano_convert.DAMAGED) from exc
    except ValueError as exc:
        if "trust_remote_code" in str(exc):
            why = "they need code of their own to be run, which is refused."
        else:
            why = "they are not of a kind that the transformers library can continue text with."
        raise nano_convert.refused(found.tag, why) from exc
    except RuntimeError as exc:
        if not nano_convert.misshapen(exc):
            raise
        raise nano_convert.refused(found.tag, nano_convert.MISSHAPEN) from exc
    nano_convert.check_info(info, found.tag)
    return model.to(device).eval()


def _directory_format(found: Weights) -> tuple[Tokenizer, Format]:
    """A directory's tokenizer, and how its conversations are written. Raises BackendFault."""
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    file = Path(found.path) / "tokenizer.json"
    if file.is_file():
        tokenizer = read_tokenizer(file)
        if speaks_nanochat(tokenizer):
            return tokenizer, NanochatFormat(tokenizer)
    try:
        own = AutoTokenizer.from_pretrained(found.path, local_files_only=True, trust_remote_code=False)
        saved = own.backend_tokenizer.to_str()
    except (ValueError, OSError, ImportError, AttributeError, KeyError) as exc:
        raise nano_convert.refused(
            found.tag, "their tokenizer is missing or of an unknown kind."
        ) from exc
    tokenizer, framing = Tokenizer.from_str(saved), Tokenizer.from_str(saved)
    if not own.chat_template:
        begin = [own.bos_token_id] if own.bos_token_id is not None else []
        return tokenizer, PlainFormat(tokenizer, begin)

    def render(turns: list[dict[str, str]]) -> str:
        text: str = own.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return text

    def frame(text: str) -> list[int]:
        ids: list[int] = framing.encode(text, add_special_tokens=False).ids
        return ids

    return tokenizer, TemplateFormat(tokenizer, render, frame)


def _stops(model: Any, tokenizer: Tokenizer, chat: Format) -> Iterator[int]:
    """The ids that end an answer: what the model says, and for nanochat also bos."""
    if isinstance(chat, NanochatFormat):
        yield from (chat.bos, chat.end)
    for config in (model.config, getattr(model, "generation_config", None)):
        ends = getattr(config, "eos_token_id", None)
        if isinstance(ends, int):
            yield ends
        elif ends is not None:
            yield from ends


def is_out_of_memory(exc: BaseException) -> bool:
    """Whether memory ran out, on the card or in the machine."""
    if isinstance(exc, MemoryError) or type(exc).__name__ == "OutOfMemoryError":
        return True
    text = str(exc).lower()
    return isinstance(exc, RuntimeError | OSError) and any(word in text for word in MEMORY_WORDS)
