"""A nanochat checkpoint of the 2025 architecture as a transformers model, converted while it loads.

The tensors keep their values; they only get other names, lose the rows that pad the vocabulary, and
are cast. Anything that does not fit exactly is refused, because a tensor that is silently missing
becomes random and one that is silently ignored makes another model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from aistack.chunks import Progress, Report
from aistack.engines.nanochat import weights as nano_weights
from aistack.engines.nanochat.tokenizer import ASSISTANT, BOS, speaks_nanochat, token_id
from aistack.engines.nanochat.weights import COMPILED, PROVIDER, Checkpoint
from aistack.errors import BackendFault, Code, Fault

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from transformers import NanoChatForCausalLM

ROPE_BASE = 10000.0
SOFTCAP = 15.0
MLP_FACTOR = 4
NORM_EPS = 2.0**-23
"""Constants of the 2025 architecture; the metadata does not tell them.

The norms' epsilon is that of single precision, which torch takes where none is given, and nanochat
gives none; the library's default is eight times larger and shows where activations are small."""

DAMAGED = "their file is damaged, or needs to run code, which is not allowed."
MISSHAPEN = "the shapes of their tensors do not fit their metadata."

_LAYER = re.compile(r"transformer\.h\.(\d+)\.(\w+)\.(\w+)\.weight")
_PARTS = {
    ("attn", "c_q"): "self_attn.q_proj",
    ("attn", "c_k"): "self_attn.k_proj",
    ("attn", "c_v"): "self_attn.v_proj",
    ("attn", "c_proj"): "self_attn.o_proj",
    ("mlp", "c_fc"): "mlp.fc1",
    ("mlp", "c_proj"): "mlp.fc2",
}
_VOCABULARY = {
    "transformer.wte.weight": "model.embed_tokens.weight",
    "lm_head.weight": "lm_head.weight",
}


def unusable_weights(tag: str, why: str) -> BackendFault:
    """503: these weights cannot be loaded, and `why` says so in a sentence."""
    message = f"The weights {tag} could not be loaded: {why}"
    return BackendFault(Fault(Code.MODEL_LOAD_FAILED, message, PROVIDER))


def renamed(name: str) -> str | None:
    """What transformers calls a tensor of the 2025 architecture; None if it does not belong there."""
    if name in _VOCABULARY:
        return _VOCABULARY[name]
    match = _LAYER.fullmatch(name)
    part = _PARTS.get((match[2], match[3])) if match else None
    return f"model.layers.{match[1]}.{part}.weight" if match and part else None


def read_tensors(checkpoint: Checkpoint, tag: str) -> dict[str, torch.Tensor]:
    """The tensors by their own names, mapped from the file, not yet in memory. Raises BackendFault.

    Weights-only mode builds tensors and nothing else: a file that names code is refused.
    """
    import pickle

    import torch

    try:
        loaded = torch.load(checkpoint.model, map_location="cpu", mmap=True, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, LookupError, ValueError) as exc:
        raise unusable_weights(tag, DAMAGED) from exc
    if not isinstance(loaded, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in loaded.items()
    ):
        raise unusable_weights(tag, "their file is not a nanochat checkpoint.")
    return {name.removeprefix(COMPILED): tensor for name, tensor in loaded.items()}


def converted(
    tensors: Mapping[str, torch.Tensor], vocabulary: int, cast: Callable[[torch.Tensor], torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The tensors under their new names, without padding rows, each put through `cast`."""
    state = {}
    for name, tensor in tensors.items():
        new = renamed(name)
        assert new is not None, name
        state[new] = cast(tensor[:vocabulary] if name in _VOCABULARY else tensor)
    return state


def load_checkpoint(
    checkpoint: Checkpoint,
    tag: str,
    tokenizer: Tokenizer,
    device: str,
    dtype: torch.dtype,
    report: Report,
) -> NanoChatForCausalLM:
    """The model on `device` in `dtype`, ready to run. Raises BackendFault, MemoryError."""
    from transformers import NanoChatForCausalLM

    try:
        meta = nano_weights.model_config(checkpoint.meta)
    except ValueError as exc:
        raise unusable_weights(tag, str(exc)) from exc
    tensors = read_tensors(checkpoint, tag)
    why = nano_weights.architecture_problem(tensors, meta)
    if why:
        raise unusable_weights(tag, why)
    if tokenizer.get_vocab_size(with_added_tokens=True) != meta["vocab_size"]:
        raise unusable_weights(tag, "their vocabulary and their tokenizer's differ in size.")
    if not speaks_nanochat(tokenizer):
        raise unusable_weights(tag, "their tokenizer lacks nanochat's special tokens.")
    config = model_settings(meta, tokenizer)
    total = float(sum(tensor.nbytes for tensor in tensors.values()))
    read = 0.0

    def cast(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal read
        read += tensor.nbytes
        report(Progress(read, total, "bytes"))
        # Copied in any case: a mapped file that is overwritten must not change a running model.
        return tensor.to(device=device, dtype=dtype, copy=True)

    state = converted(tensors, meta["vocab_size"], cast)
    try:
        model, info = NanoChatForCausalLM.from_pretrained(
            None, config=config, state_dict=state, dtype=dtype, output_loading_info=True
        )
    except RuntimeError as exc:
        if not misshapen(exc):
            raise
        raise unusable_weights(tag, MISSHAPEN) from exc
    check_info(info, tag)
    return model.to(device).eval()


def model_settings(meta: Mapping[str, Any], tokenizer: Tokenizer) -> Any:
    """The library's configuration for a checkpoint's `model_config`.

    Token ids are read by name: the library's defaults are wrong for every nanochat tokenizer.
    """
    from transformers import NanoChatConfig

    return NanoChatConfig(
        vocab_size=meta["vocab_size"],
        hidden_size=meta["n_embd"],
        intermediate_size=MLP_FACTOR * meta["n_embd"],
        num_hidden_layers=meta["n_layer"],
        num_attention_heads=meta["n_head"],
        num_key_value_heads=meta["n_kv_head"],
        max_position_embeddings=meta["sequence_len"],
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_BASE},
        final_logit_softcapping=SOFTCAP,
        rms_norm_eps=NORM_EPS,
        hidden_act="relu2",
        tie_word_embeddings=False,
        bos_token_id=token_id(tokenizer, BOS),
        eos_token_id=token_id(tokenizer, ASSISTANT[1]),
        pad_token_id=None,
    )


def misshapen(exc: RuntimeError) -> bool:
    """Whether the library says that shapes do not fit (it has no class of its own for it)."""
    return "ignore_mismatched_sizes" in str(exc)


def check_info(info: Mapping[str, Any], tag: str) -> None:
    """Refuse a load that was not exact. Raises BackendFault."""
    if info["missing_keys"]:
        raise unusable_weights(tag, "tensors are missing from their file.")
    if info["unexpected_keys"]:
        raise unusable_weights(tag, "their file has tensors that do not belong to this model.")
    if info["mismatched_keys"] or info.get("error_msgs"):
        raise unusable_weights(tag, MISSHAPEN)
