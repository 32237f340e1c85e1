"""Weights made ready to run: the model, its tokenizer, and how its conversations are written.

Either a nanochat checkpoint of the 2025 architecture, converted while it loads, or a directory of any
causal language model that the transformers library knows; code that comes with weights is never run.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from aistack.chunks import Report
from aistack.contract.devices import Device
from aistack.engines.nanochat import convert, weights
from aistack.engines.nanochat.convert import unusable_weights
from aistack.engines.nanochat.detokenize import Detokenizer
from aistack.engines.nanochat.heartbeat import reported
from aistack.engines.nanochat.prompt import Format, NanochatFormat, PlainFormat, TemplateFormat
from aistack.engines.nanochat.tokenizer import read_tokenizer, speaks_nanochat
from aistack.engines.nanochat.weights import PROVIDER, Weights
from aistack.errors import BackendFault, Code, Fault

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer


@frozen
class LoadedModel:
    """What one `load` made ready. `context` is in tokens; None if the model does not say."""

    model: Any
    format: Format
    detokenizer: Detokenizer
    stops: frozenset[int]
    context: int | None
    device: str
    slot: int
    keeps: bool


def forward(loaded: LoadedModel, ids: torch.Tensor, cache: Any) -> tuple[torch.Tensor, Any]:
    """The logits of the last position, and the cache grown by all of them (none: a new one)."""
    import torch

    extra = {"logits_to_keep": 1} if loaded.keeps else {}
    with torch.inference_mode():
        answer = loaded.model(input_ids=ids, past_key_values=cache, use_cache=True, **extra)
        return answer.logits[0, -1], getattr(answer, "past_key_values", None)


def dtype_of(name: str, device: Device) -> torch.dtype:
    """The dtype to compute in. Raises BackendFault for an unknown name."""
    import torch

    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name == "auto":
        if device.is_cuda:
            return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        return torch.float32
    if name not in known:
        raise BackendFault(
            Fault(
                Code.NOT_CONFIGURED,
                "nanochat.dtype must be auto, float32, bfloat16 or float16.",
                PROVIDER,
            )
        )
    return known[name]


def load_weights(
    found: Weights, device: str, dtype: torch.dtype, slot: int, report: Report
) -> LoadedModel:
    """The weights on `device` in `dtype`, run once. Raises BackendFault, or what PyTorch raises."""
    path = Path(found.path)
    checkpoint = weights.latest(path)
    if checkpoint is not None:
        file = weights.tokenizer_file(path)
        if file is None:
            raise unusable_weights(found.tag, "their tokenizer is missing.")
        tokenizer = read_tokenizer(file)
        model = convert.load_checkpoint(checkpoint, found.tag, tokenizer, device, dtype, report)
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
        frozenset(_stop_ids(model, tokenizer, chat)),
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
    _, cache = forward(loaded, torch.tensor([[begin]], device=loaded.device), None)
    if cache is None:
        raise unusable_weights(tag, "they cannot generate text token by token.")


def _load_directory(found: Weights, device: str, dtype: torch.dtype) -> Any:
    """A Hugging Face directory, exactly as it was saved. Raises BackendFault."""
    import pickle

    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    if found.problem:
        raise unusable_weights(found.tag, found.problem)
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            found.path,
            local_files_only=True,
            trust_remote_code=False,
            dtype=dtype,
            output_loading_info=True,
        )
    except (SafetensorError, pickle.UnpicklingError, OSError) as exc:
        raise unusable_weights(found.tag, convert.DAMAGED) from exc
    except ValueError as exc:
        if "trust_remote_code" in str(exc):
            why = "they need to run code of their own, which is not allowed."
        else:
            why = "the transformers library cannot generate text with this kind of model."
        raise unusable_weights(found.tag, why) from exc
    except RuntimeError as exc:
        if not convert.misshapen(exc):
            raise
        raise unusable_weights(found.tag, convert.MISSHAPEN) from exc
    convert.check_info(info, found.tag)
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
        raise unusable_weights(found.tag, "their tokenizer is missing or of an unknown kind.") from exc
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


def _stop_ids(model: Any, tokenizer: Tokenizer, chat: Format) -> Iterator[int]:
    """The ids that end an answer: what the model says, and for nanochat also bos."""
    if isinstance(chat, NanochatFormat):
        yield from (chat.bos, chat.end)
    for config in (model.config, getattr(model, "generation_config", None)):
        ends = getattr(config, "eos_token_id", None)
        if isinstance(ends, int):
            yield ends
        elif ends is not None:
            yield from ends
