"""The network: Whisper's architecture, small, with a start that already looks the right way.

Parameter names are those of transformers' Whisper, so that `export` can rename and be done. What is
not Whisper's: the extra outputs `frame`, `nth_word`, `nth_utterance` (training only), and one shared
vector for all tokens that are never used.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contrib.dev.tiny_models.vocabulary import SIZE, STAMPS, Tokens

WIDTH, HEADS, INNER, LAYERS, MELS = 64, 4, 256, 2, 80
HEAD = WIDTH // HEADS
POSITIONS, TEXT_POSITIONS = 1500, 448
GUIDED = (0, 1)
"""Heads of the last decoder layer that are taught to look at the word being written; they become the
alignment heads, from which word times are read."""

SHIFTS = ((-5, -2, 2, 5), (-14, -6, 6, 14))
"""How far away, in units of 20 ms, the encoder's heads start out looking, layer by layer."""

DROPOUT = 0.05
PAIRS = list(range(0, WIDTH // 2, 2))
"""Frequencies of the position code (sine at i, cosine at i + WIDTH / 2) that the start makes use of."""


def sinusoids(length: int, channels: int) -> Tensor:
    step = math.log(10000) / (channels // 2 - 1)
    angle = torch.arange(length)[:, None] * torch.exp(-step * torch.arange(channels // 2))[None]
    return torch.cat([angle.sin(), angle.cos()], 1)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.k_proj = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH, bias=False)
        self.v_proj, self.out_proj = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(
        self, x: Tensor, over: Tensor | None = None, causal: bool = False, want: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """The output, and the weights if wanted."""
        source = x if over is None else over

        def heads(z: Tensor) -> Tensor:
            return z.view(z.shape[0], -1, HEADS, HEAD).transpose(1, 2)

        q, k, v = heads(self.q_proj(x)), heads(self.k_proj(source)), heads(self.v_proj(source))
        weights = None
        if want:
            weights = (q @ k.transpose(-1, -2) / math.sqrt(HEAD)).softmax(-1)
            out = weights @ v
        else:
            out = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return self.out_proj(out.transpose(1, 2).reshape(x.shape)), weights


class Layer(nn.Module):
    def __init__(self, cross: bool) -> None:
        super().__init__()
        self.self_attn, self.self_attn_layer_norm = Attention(), nn.LayerNorm(WIDTH)
        self.cross = cross
        if cross:
            self.encoder_attn, self.encoder_attn_layer_norm = Attention(), nn.LayerNorm(WIDTH)
        self.fc1, self.fc2 = nn.Linear(WIDTH, INNER), nn.Linear(INNER, WIDTH)
        self.final_layer_norm = nn.LayerNorm(WIDTH)

    def forward(
        self, x: Tensor, encoded: Tensor | None = None, want: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        def dropped(z: Tensor) -> Tensor:
            return F.dropout(z, DROPOUT, self.training)

        x = x + dropped(self.self_attn(self.self_attn_layer_norm(x), causal=self.cross)[0])
        weights = None
        if self.cross:
            seen, weights = self.encoder_attn(self.encoder_attn_layer_norm(x), encoded, want=want)
            x = x + dropped(seen)
        return x + dropped(self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))), weights


@torch.no_grad()
def look_at(attention: Attention, head: int, shift: float, gain: float) -> None:
    """Start a head off attending `shift` positions away: rotate the sinusoids of the position code."""
    step = math.log(10000) / (WIDTH // 2 - 1)
    query, key = attention.q_proj.weight, attention.k_proj.weight
    for place, sine in enumerate(PAIRS[: HEAD // 2]):
        angle = math.exp(-step * sine) * shift
        row, cosine = head * HEAD + 2 * place, sine + WIDTH // 2
        query[row : row + 2] *= 0.3
        key[row : row + 2] *= 0.3
        query[row, sine] += gain * math.cos(angle)
        query[row, cosine] += gain * math.sin(angle)
        query[row + 1, cosine] += gain * math.cos(angle)
        query[row + 1, sine] -= gain * math.sin(angle)
        key[row, sine] += gain
        key[row + 1, cosine] += gain


@torch.no_grad()
def copy_position(attention: Attention, head: int, pairs: list[int]) -> None:
    """Start a head off handing on the position code of what it looks at: that is a timestamp."""
    for place, sine in enumerate(pairs):
        for row, channel in (
            (head * HEAD + 2 * place, sine),
            (head * HEAD + 2 * place + 1, sine + WIDTH // 2),
        ):
            attention.v_proj.weight[row] *= 0.3
            attention.v_proj.weight[row, channel] += 1
            attention.out_proj.weight[channel, row] += 1


class Encoder(nn.Module):
    pos: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(MELS, WIDTH, 3, padding=1)
        self.conv2 = nn.Conv1d(WIDTH, WIDTH, 3, stride=2, padding=1)
        self.register_buffer("pos", sinusoids(POSITIONS, WIDTH))
        stack = [Layer(False) for _ in range(LAYERS)]
        for layer, shifts in zip(stack, SHIFTS, strict=True):
            for head, shift in enumerate(shifts):
                look_at(layer.self_attn, head, shift, 2.0)
        self.layers = nn.ModuleList(stack)
        self.layer_norm = nn.LayerNorm(WIDTH)

    def forward(self, mel: Tensor, offset: int) -> Tensor:
        """`offset` is the place of the window in the 30 s of positions, in units of 20 ms."""
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        x = x + self.pos[offset : offset + x.shape[1]]
        for layer in self.layers:
            x, _ = layer(x)
        return self.layer_norm(x)


class Output(NamedTuple):
    """Logits over the tokens in use (last: all others together), the last layer's attention, and the
    three labellings of the encoder's frames."""

    logits: Tensor
    weights: Tensor
    labels: tuple[Tensor, Tensor, Tensor]


class TinyWhisper(nn.Module):
    def __init__(self, tokens: Tokens) -> None:
        super().__init__()
        used = len(tokens.ids)
        self.encoder = Encoder()
        self.emb = nn.Parameter(torch.randn(used + 1, WIDTH) * 0.05)  # the last row: all unused ones
        self.pos = nn.Parameter(torch.randn(TEXT_POSITIONS, WIDTH) * 0.02)
        stack = [Layer(True) for _ in range(LAYERS)]
        for place, head in enumerate(GUIDED):
            pairs = PAIRS[place * HEAD // 2 : (place + 1) * HEAD // 2]
            look_at(stack[-1].encoder_attn, head, 6, 1.2)
            copy_position(stack[-1].encoder_attn, head, pairs)
        self.layers = nn.ModuleList(stack)
        self.layer_norm = nn.LayerNorm(WIDTH)
        self.frame = nn.Linear(WIDTH, len(tokens.frame_class) + 1)
        self.nth_word, self.nth_utterance = nn.Linear(WIDTH, 9), nn.Linear(WIDTH, 16)
        self._log_unused = math.log(SIZE - used)
        self._start(tokens.index[tokens.stamp])

    @torch.no_grad()
    def _start(self, first_stamp: int) -> None:
        keep = torch.zeros(WIDTH)
        keep[[channel for sine in PAIRS for channel in (sine, sine + WIDTH // 2)]] = 0.5
        self.emb[first_stamp : first_stamp + STAMPS - 1] = sinusoids(POSITIONS, WIDTH) * keep

    def forward(self, mel: Tensor, tokens: Tensor, counted: Tensor, offset: int) -> Output:
        """Logits are computed only where `counted`."""
        encoded = self.encoder(mel, offset)
        x = self.emb[tokens] + self.pos[: tokens.shape[1]]
        weights = None
        for place, layer in enumerate(self.layers):
            x, weights = layer(x, encoded, want=place == LAYERS - 1)
        assert weights is not None
        logits = self.layer_norm(x[counted]).float() @ self.emb.T
        logits = torch.cat([logits[..., :-1], logits[..., -1:] + self._log_unused], -1)
        labels = (self.frame(encoded), self.nth_word(encoded), self.nth_utterance(encoded))
        return Output(logits, weights, labels)
