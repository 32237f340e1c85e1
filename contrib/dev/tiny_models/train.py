"""Train the tiny Whisper and convert it: see README.md.

python -m contrib.dev.tiny_models.train --ranks multilingual.tiktoken --out tiny-whisper-digits
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contrib.dev.tiny_models.export import export
from contrib.dev.tiny_models.network import GUIDED, TinyWhisper
from contrib.dev.tiny_models.speech import make_bank
from contrib.dev.tiny_models.vocabulary import STAMPS, Tokens, build_tokenizer
from contrib.dev.tiny_models.windows import IGNORED, Batch, Windows

STAGES = "400:32:2400:3e-3,1000:16:700:2e-3,3000:8:500:1e-3,3000:8:550:1.5e-3,3000:8:350:1.2e-3"
NEAR = ((-2, 0.06), (-1, 0.24), (0, 0.4), (1, 0.24), (2, 0.06))
"""How much of a timestamp's target lies how many 20 ms beside it."""

SAVE_EVERY, TELL_EVERY = 250, 100


class Stage(NamedTuple):
    """Windows of so many mel frames, so many at a time, for so many steps, at this top rate."""

    frames: int
    size: int
    steps: int
    rate: float

    @classmethod
    def parse(cls, text: str) -> Stage:
        frames, size, steps, rate = text.split(":")
        return cls(int(frames), int(size), int(steps), float(rate))


class Score(NamedTuple):
    """Losses (text, attention, frames, word ordinal, utterance ordinal), and the shares of text tokens
    that are right and of timestamps that are right within 0.1 s."""

    text: float
    guide: float
    frame: float
    nth_word: float
    nth_utterance: float
    right: float
    timed: float


def text_loss(logits: Tensor, targets: Tensor, first_stamp: int) -> Tensor:
    """Cross entropy, with targets around a timestamp sharing its weight."""
    logs = logits.float().log_softmax(-1)
    stamps = targets >= first_stamp
    losses = [-logs[~stamps].gather(1, targets[~stamps][:, None])[:, 0]]
    if stamps.any():
        at, shared = targets[stamps], torch.zeros(int(stamps.sum()))
        for distance, weight in NEAR:
            beside = (at + distance).clamp(first_stamp, first_stamp + STAMPS - 1)
            shared = shared - weight * logs[stamps].gather(1, beside[:, None])[:, 0]
        losses.append(0.7 * shared)
    return torch.cat(losses).mean()


def guide_loss(weights: Tensor, batch: Batch) -> Tensor:
    """How far the guided heads are from looking evenly at the whole word; 0 when they do.

    A mere "inside the word" would let them peak anywhere, and word times would come out early.
    """
    lengths = batch.heard.sum(-1)
    even = batch.heard / lengths.clamp_min(1)[..., None]
    looks = [
        (even * weights[:, head].float().clamp_min(1e-5).log()).sum(-1)[batch.has] for head in GUIDED
    ]
    return -torch.stack(looks).mean() - lengths[batch.has].log().mean()


def losses(model: TinyWhisper, tokens: Tokens, batch: Batch) -> tuple[Tensor, Score]:
    counted = batch.wanted != IGNORED
    output = model(batch.mel, batch.given, counted, batch.offset)
    targets = batch.wanted[counted]
    first = tokens.index[tokens.stamp]
    text, guide = text_loss(output.logits, targets, first), guide_loss(output.weights, batch)
    frame, word, utterance = (
        F.cross_entropy(
            label.float().flatten(0, 1), batch.labels[:, row].flatten(), ignore_index=IGNORED
        )
        for row, label in enumerate(output.labels)
    )
    best, stamps = output.logits.argmax(-1), targets >= first
    score = Score(
        text.item(),
        guide.item(),
        frame.item(),
        word.item(),
        utterance.item(),
        (best == targets)[~stamps].float().mean().item(),
        ((best - targets).abs() <= 5)[stamps].float().mean().item() if stamps.any() else 1.0,
    )
    return text + 0.3 * guide + 0.5 * frame + 0.3 * (word + utterance), score


def run_stage(
    model: TinyWhisper, tokens: Tokens, windows: Windows, stage: Stage, checkpoint: Path
) -> None:
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=stage.rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    warm = max(1, stage.steps // 12)

    def rate(step: int) -> float:
        falling = 0.5 * (1 + math.cos(math.pi * min(1.0, step / stage.steps)))
        return min((step + 1) / warm, 0.02 + 0.98 * falling)

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    scores: list[Score] = []
    began = time.monotonic()
    model.train()
    for step in range(1, stage.steps + 1):
        loss, score = losses(model, tokens, windows.batch(stage.size, stage.frames))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        scores.append(score)
        if step % TELL_EVERY == 0 or step == stage.steps:
            recent = scores[-TELL_EVERY:]
            told = (
                f"{name} {sum(column) / len(recent):.3f}"
                for name, column in zip(Score._fields, zip(*recent, strict=True), strict=True)
            )
            minutes = (time.monotonic() - began) / 60
            print(f"{stage.frames} frames, step {step}, {minutes:.1f} min:", *told, flush=True)
        if step % SAVE_EVERY == 0 or step == stage.steps:
            torch.save(model.state_dict(), checkpoint)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=Path, required=True, help="multilingual.tiktoken")
    parser.add_argument("--out", type=Path, required=True, help="the directory to write")
    parser.add_argument("--bank", type=int, default=6000, help="utterances to make")
    parser.add_argument("--stages", default=STAGES, help="frames:batch:steps:rate,...")
    parser.add_argument("--quantization", default="int8")
    parser.add_argument("--threads", type=int, default=1, help="one is fastest on a shared machine")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--init", type=Path, help="go on from a checkpoint")
    parser.add_argument("--export-only", action="store_true", help="only convert --init")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    tokens = Tokens(build_tokenizer(options.ranks))
    model = TinyWhisper(tokens)
    size = sum(parameter.numel() for parameter in model.parameters())
    print(f"{len(tokens.ids)} tokens in use, {size} parameters", flush=True)
    if options.init:
        model.load_state_dict(torch.load(options.init))
    if not options.export_only:
        bank = make_bank(options.bank, options.seed)
        minutes = sum(item.frames for items in bank.values() for item in items) / 6000
        print(f"{options.bank} utterances, {minutes:.0f} minutes of speech", flush=True)
        windows = Windows(bank, tokens, options.seed)
        for text in options.stages.split(","):
            checkpoint = options.out.with_suffix(".pt")
            run_stage(model, tokens, windows, Stage.parse(text), checkpoint)
    model.eval()
    export(model, tokens, options.out, options.quantization)
    print("wrote", {path.name: path.stat().st_size for path in sorted(options.out.iterdir())})


if __name__ == "__main__":
    main()
