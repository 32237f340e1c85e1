"""Build and train the tiny SenseVoice (FunASR's SenseVoiceSmall, made small).

python -m contrib.dev.tiny_models.torch_engines.sensevoice --out sensevoice-digits --minutes 10

Asked for `auto` or `en` it writes English words, for `zh` Chinese numerals; with inverse text
normalisation digits (or numerals) with full stops; noise is `<|nospeech|>`.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from pathlib import Path
from typing import Any, NamedTuple

import sentencepiece
import torch
from torch import Tensor, nn

from contrib.dev.tiny_models.torch_engines.funasr_files import Features, normalisation, write_settings
from contrib.dev.tiny_models.torch_engines.recordings import WORDS, Recorder

HAN = "零一二三四五六七八九"
_NAMES = """
    zh en yue ja ko nospeech HAPPY SAD ANGRY NEUTRAL EMO_UNKNOWN BGM Speech Applause Laughter withitn
    woitn
"""
TAGS = [f"<|{name}|>" for name in _NAMES.split()]
# At 60 ms a frame CTC cannot spell: pieces are words, or halves of the two-syllable ones.
_ENGLISH = [
    "▁ze",
    "ro",
    "▁one",
    "▁two",
    "▁three",
    "▁four",
    "▁five",
    "▁six",
    "▁se",
    "ven",
    "▁eight",
    "▁nine",
]
PIECES = [*_ENGLISH, *(f"▁{n}" for n in range(10)), *HAN, ".", "。"]

STACKED, EVERY = 7, 6
MODEL = {"length_normalized_loss": True, "sos": 1, "eos": 2, "ignore_id": -1}
ENCODER = {
    "output_size": 64,
    "attention_heads": 4,
    "linear_units": 128,
    "num_blocks": 3,
    "tp_blocks": 1,
    "dropout_rate": 0.0,
    "positional_dropout_rate": 0.0,
    "attention_dropout_rate": 0.0,
    "input_layer": "pe",
    "pos_enc_class": "SinusoidalPositionEncoder",
    "normalize_before": True,
    "kernel_size": 11,
    "sanm_shfit": 0,  # the library's own spelling
    "selfattention_layer_type": "sanm",
}
BATCH = 16
TOP_RATE = 3e-3


class Item(NamedTuple):
    """Features (T, 560) and the digits of each sentence; none of them is noise."""

    features: Tensor
    sentences: list[list[int]]


class Batch(NamedTuple):
    """Features with their hints' indices, and what should come out."""

    features: list[Tensor]
    hints: list[int]
    norms: list[int]
    labels: list[Tensor]
    tags: Tensor


def tokenizer(folder: Path) -> sentencepiece.SentencePieceProcessor:
    """`bpe.model`: the blank first, tags that stay whole, and no blank put before a text."""
    lines = [
        "".join(TAGS) + " " + " ".join(WORDS) + ".",
        HAN + "。",
        " 0 1 2 3 4 5 6 7 8 9.",
    ] * 20
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_prefix=str(folder / "bpe"),
        model_type="bpe",
        vocab_size=110,
        character_coverage=1.0,
        hard_vocab_limit=False,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        user_defined_symbols=TAGS + PIECES,
        minloglevel=2,
    )
    (folder / "bpe.vocab").unlink()
    return sentencepiece.SentencePieceProcessor(str(folder / "bpe.model"))


def written(sentences: list[list[int]], language: str, itn: bool) -> str:
    """What the model should write."""
    if language == "zh":
        stop = "。" if itn else ""
        return "".join("".join(HAN[n] for n in digits) + stop for digits in sentences)
    if itn:
        return "".join("".join(f" {n}" for n in digits) + "." for digits in sentences)
    return "".join("".join(f" {WORDS[n]}" for n in digits) for digits in sentences)


class Trainer:
    """The network with its tokenizer: batches, losses, and what it writes."""

    def __init__(self, net: Any, pieces: sentencepiece.SentencePieceProcessor) -> None:
        self.net = net
        self.pieces = pieces

    def tags(self, item: Item, language: str, itn: bool) -> list[int]:
        names = ["en", "NEUTRAL", "Speech"] if item.sentences else ["nospeech", "EMO_UNKNOWN", "BGM"]
        if item.sentences and language == "zh":
            names[0] = "zh"
        names.append("withitn" if itn else "woitn")
        return [self.pieces.piece_to_id(f"<|{name}|>") for name in names]

    def batch(self, items: list[Item], language: str = "", itn: bool | None = None) -> Batch:
        """The items as asked for, or with hints drawn at random and a few features left out."""
        batch = Batch([], [], [], [], torch.zeros(len(items), 4, dtype=torch.long))
        for row, item in enumerate(items):
            hint = language or random.choice(["auto", "en", "zh"])
            digits = random.random() < 0.5 if itn is None else itn
            features = item.features
            if not language:
                features = features + torch.randn(()) * 0.1
                start = random.randint(0, 70)
                features[:, start : start + 8] = 0
            batch.features.append(features)
            batch.hints.append(self.net.lid_dict[hint])
            batch.norms.append(self.net.textnorm_dict["withitn" if digits else "woitn"])
            text = self.pieces.encode(written(item.sentences, hint, digits))
            batch.labels.append(torch.tensor(text, dtype=torch.long))
            batch.tags[row] = torch.tensor(self.tags(item, hint, digits))
        return batch

    def scores(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Log probabilities (B, T+4, V) and lengths: the first four frames are the tags."""
        lengths = torch.tensor([len(features) for features in batch.features])
        sound = nn.utils.rnn.pad_sequence(batch.features, batch_first=True)
        embed = self.net.embed
        asked = [
            embed(torch.tensor(batch.hints)[:, None]),
            embed(torch.tensor([[1, 2]])).repeat(len(lengths), 1, 1),
            embed(torch.tensor(batch.norms)[:, None]),
        ]
        encoded, sizes = self.net.encoder(torch.cat([*asked, sound], 1), lengths + 4)
        return self.net.ctc.ctc_lo(encoded).log_softmax(-1), sizes.long()

    def loss(self, batch: Batch) -> Tensor:
        scores, sizes = self.scores(batch)
        text = nn.functional.ctc_loss(
            scores[:, 4:].transpose(0, 1),
            torch.cat(batch.labels),
            sizes - 4,
            torch.tensor([len(labels) for labels in batch.labels]),
            zero_infinity=True,
        )
        rich = nn.functional.nll_loss(
            scores[:, :4].reshape(-1, scores.shape[-1]), batch.tags.reshape(-1)
        )
        return text + rich

    def exact(self, items: list[Item], language: str, itn: bool) -> float:
        """The share of items whose whole answer, tags included, is right."""
        right = 0
        with torch.no_grad():
            for at in range(0, len(items), BATCH):
                batch = self.batch(items[at : at + BATCH], language, itn)
                scores, sizes = self.scores(batch)
                for row, labels in enumerate(batch.labels):
                    best = torch.unique_consecutive(scores[row, : int(sizes[row])].argmax(-1))
                    wanted = batch.tags[row].tolist() + labels.tolist()
                    got = best[best != 0].tolist()
                    right += self.pieces.decode(got) == self.pieces.decode(wanted)
        return right / len(items)


def train(trainer: Trainer, learned: list[Item], held_out: list[Item], args: argparse.Namespace) -> None:
    """Train by the clock, then save."""
    net = trainer.net
    learned.sort(key=lambda item: len(item.features))
    batches = [learned[at : at + BATCH] for at in range(0, len(learned), BATCH)]
    optimizer = torch.optim.AdamW(net.parameters(), lr=TOP_RATE, betas=(0.9, 0.98), weight_decay=1e-3)
    began, step, epoch, share = time.monotonic(), 0, 0, 0.0
    while share < 1:
        random.shuffle(batches)
        net.train()
        total = 0.0
        for items in batches:
            share = min(1.0, (time.monotonic() - began) / (args.minutes * 60))
            falling = 0.02 + 0.49 * (1 + math.cos(math.pi * share))
            optimizer.param_groups[0]["lr"] = TOP_RATE * min(1, (step + 1) / 200) * falling
            loss = trainer.loss(trainer.batch(items))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            step += 1
            total += float(loss)
            if share >= 1:
                break
        epoch += 1
        if epoch % 5 == 0 or share >= 1:
            net.eval()
            found = {
                f"{language}{' itn' if itn else ''}": round(trainer.exact(held_out, language, itn), 3)
                for language, itn in (("auto", False), ("en", True), ("zh", False))
            }
            print(f"epoch {epoch} step {step} loss {total / len(batches):.3f} exact {found}")
    torch.save(net.state_dict(), args.out / "model.pt")


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--recordings", type=int, default=2000)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    random.seed(0)
    from funasr.models.sense_voice.model import SenseVoiceSmall

    pieces = tokenizer(args.out)
    make = Features(STACKED, EVERY)

    def items(seed: int, count: int) -> list[Item]:
        return [
            Item(
                make.of(one.samples),
                [
                    [WORDS.index(word) for word in part.split()]
                    for part in one.text.rstrip(".").split(". ")
                ],
            )
            for one in Recorder(seed).speech(count)
        ]

    learned = items(0, args.recordings)
    learned += [Item(make.of(one.samples), []) for one in Recorder(1).nothing(args.recordings // 20)]
    held_out = items(2, max(args.recordings // 20, 2))
    mean, deviation = normalisation([item.features for item in learned], args.out / "am.mvn")
    learned, held_out = (
        [item._replace(features=(item.features - mean) / deviation) for item in group]
        for group in (learned, held_out)
    )
    net = SenseVoiceSmall(
        input_size=len(mean),
        vocab_size=pieces.get_piece_size(),
        encoder="SenseVoiceEncoderSmall",
        encoder_conf=ENCODER,
        **MODEL,
    )
    settings = {
        "model": "SenseVoiceSmall",
        "model_conf": MODEL,
        "encoder": "SenseVoiceEncoderSmall",
        "encoder_conf": ENCODER,
        "tokenizer": "SentencepiecesTokenizer",
        "tokenizer_conf": {"bpemodel": None, "unk_symbol": "<unk>", "split_with_space": True},
        "frontend": "WavFrontend",
        "frontend_conf": make.settings,
    }
    write_settings(args.out, settings)
    train(Trainer(net, pieces), learned, held_out, args)


if __name__ == "__main__":
    main()
