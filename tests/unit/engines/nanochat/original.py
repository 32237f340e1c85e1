"""nanochat's architecture of 2025, written for the conversion test from its published description.

Rotary positions of base 10000, RMS norms without weights (also right after the embedding and before
the head), norms of queries and keys after the rotation, squared ReLU, no biases, an untied head, and
logits softly capped at 15. Numbers of heads and of key-value heads may differ. No cache.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, relu, rms_norm, scaled_dot_product_attention

SMALL = {"sequence_len": 64, "n_layer": 3, "n_head": 4, "n_kv_head": 2, "n_embd": 64, "vocab_size": 384}


def norm(x: Tensor) -> Tensor:
    return rms_norm(x, (x.shape[-1],))


def rotate(x: Tensor) -> Tensor:
    """Rotary positions on (batch, time, heads, size): pairs are (i, i + size / 2)."""
    half = x.shape[-1] // 2
    frequencies = 10000.0 ** (-torch.arange(half, dtype=torch.float32) / half)
    angles = torch.outer(torch.arange(x.shape[1], dtype=torch.float32), frequencies)
    cos, sin = angles.cos()[None, :, None, :], angles.sin()[None, :, None, :]
    first, second = x[..., :half], x[..., half:]
    return torch.cat((first * cos + second * sin, second * cos - first * sin), dim=-1)


class Attention(nn.Module):
    def __init__(self, c: dict[str, int]) -> None:
        super().__init__()
        self.heads, self.kv_heads = c["n_head"], c["n_kv_head"]
        self.size = c["n_embd"] // c["n_head"]
        self.c_q = nn.Linear(c["n_embd"], self.heads * self.size, bias=False)
        self.c_k = nn.Linear(c["n_embd"], self.kv_heads * self.size, bias=False)
        self.c_v = nn.Linear(c["n_embd"], self.kv_heads * self.size, bias=False)
        self.c_proj = nn.Linear(c["n_embd"], c["n_embd"], bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, time, width = x.shape
        q = norm(rotate(self.c_q(x).view(batch, time, self.heads, self.size)))
        k = norm(rotate(self.c_k(x).view(batch, time, self.kv_heads, self.size)))
        v = self.c_v(x).view(batch, time, self.kv_heads, self.size)
        y = scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=True, enable_gqa=True
        )
        return self.c_proj(y.transpose(1, 2).reshape(batch, time, width))


class Mlp(nn.Module):
    def __init__(self, c: dict[str, int]) -> None:
        super().__init__()
        self.c_fc = nn.Linear(c["n_embd"], 4 * c["n_embd"], bias=False)
        self.c_proj = nn.Linear(4 * c["n_embd"], c["n_embd"], bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(relu(self.c_fc(x)).square())


class Block(nn.Module):
    def __init__(self, c: dict[str, int]) -> None:
        super().__init__()
        self.attn, self.mlp = Attention(c), Mlp(c)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(norm(x))
        return x + self.mlp(norm(x))


class Original(nn.Module):
    """`pad_to`: rows of the vocabulary are padded up to a multiple, as from December 2025 on."""

    def __init__(self, c: dict[str, int], pad_to: int = 1) -> None:
        super().__init__()
        self.vocabulary = c["vocab_size"]
        rows = -(-c["vocab_size"] // pad_to) * pad_to
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(rows, c["n_embd"]),
                "h": nn.ModuleList(Block(c) for _ in range(c["n_layer"])),
            }
        )
        self.lm_head = nn.Linear(c["n_embd"], rows, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits, (batch, time, vocabulary)."""
        x = norm(self.transformer["wte"](ids).float())
        for block in self.transformer["h"]:
            x = block(x)
        logits = linear(norm(x), self.lm_head.weight)[..., : self.vocabulary]
        return 15 * torch.tanh(logits / 15)


def random_original(c: dict[str, int] = SMALL, seed: int = 1, pad_to: int = 1) -> Original:
    """Random weights large enough that every part shows in the logits."""
    torch.manual_seed(seed)
    model = Original(c, pad_to)
    for weight in model.parameters():
        nn.init.normal_(weight, std=1.0 if weight.shape[0] >= c["vocab_size"] else 0.12)
    nn.init.normal_(model.lm_head.weight, std=0.25)
    model.eval()
    return model


def save_checkpoint(
    folder: Path,
    state: dict[str, Any],
    c: dict[str, Any] = SMALL,
    step: int = 7,
    tokenizer: Path | None = None,
) -> Path:
    """The files that nanochat writes for one step."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / f"model_{step:06d}.pt")
    meta = {"step": step, "model_config": dict(c)}
    (folder / f"meta_{step:06d}.json").write_text(json.dumps(meta))
    if tokenizer is not None:
        (folder / "tokenizer").mkdir(exist_ok=True)
        (folder / "tokenizer" / "tokenizer.pkl").write_bytes(tokenizer.read_bytes())
    return folder
