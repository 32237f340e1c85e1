"""Checkpoints of the size of nanochat's d12 with random weights: speed and memory without a download."""

from __future__ import annotations

import json
from pathlib import Path

D12 = {
    "sequence_len": 2048,
    "vocab_size": 65536,
    "n_layer": 12,
    "n_head": 6,
    "n_kv_head": 6,
    "n_embd": 768,
}


def make_random(root: Path, tag: str, seed: int) -> None:
    """A checkpoint of the size of d12 with random weights, and a vocabulary of 65536 entries."""
    import pickle

    import tiktoken
    import torch

    from aistack.engines.nanochat.tokenizer import ASSISTANT, BOS, USER

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
