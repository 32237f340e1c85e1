"""Build the tiny Parakeet (the real one's settings in NeMo, made small) and train it.

python -m contrib.dev.tiny_models.torch_engines.parakeet --out parakeet-digits.nemo --minutes 9
"""

from __future__ import annotations

import argparse
import logging
import math
import random
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import sentencepiece
import torch
from omegaconf import OmegaConf, open_dict
from torch import Tensor, nn

from contrib.dev.tiny_models.torch_engines.recordings import WORDS, Recorder, Recording, errors
from contrib.dev.tiny_models.torch_engines.tdt_loss import tdt_loss

DURATIONS = [0, 1, 2, 3, 4]
MELS = 128
HIDDEN = 64
BATCH = 16
ASR = "nemo.collections.asr.modules"


def tokenizer(folder: Path) -> None:
    """`tokenizer.model` and `vocab.txt` in `folder`: NeMo reads both."""
    draw = random.Random(0)
    lines = [" ".join(draw.choices(WORDS, k=draw.randint(1, 4))) + "." for _ in range(2000)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=48,
        model_type="bpe",
        character_coverage=1.0,
        bos_id=-1,
        eos_id=-1,
        unk_id=0,
        hard_vocab_limit=False,
        minloglevel=2,
        normalization_rule_name="identity",  # saves 240 kB
    )
    pieces = sentencepiece.SentencePieceProcessor(str(folder / "tokenizer.model"))
    names = [pieces.id_to_piece(n) for n in range(pieces.get_piece_size())]
    text = "".join((name[1:] if name.startswith("▁") else f"##{name}") + "\n" for name in names)
    (folder / "vocab.txt").write_text(text, encoding="utf-8")


def settings(folder: Path, width: int, layers: int) -> dict[str, Any]:
    """The settings of parakeet-tdt-0.6b-v3 with small numbers."""
    return {
        "sample_rate": 16000,
        "compute_eval_loss": False,
        "log_prediction": True,
        "rnnt_reduction": "mean_volume",
        "skip_nan_grad": False,
        "model_defaults": {
            "enc_hidden": width,
            "pred_hidden": HIDDEN,
            "joint_hidden": HIDDEN,
            "tdt_durations": DURATIONS,
            "num_tdt_durations": len(DURATIONS),
        },
        "train_ds": None,
        "validation_ds": None,
        "test_ds": None,
        "tokenizer": {"dir": str(folder), "type": "bpe"},
        "preprocessor": {
            "_target_": f"{ASR}.AudioToMelSpectrogramPreprocessor",
            "sample_rate": 16000,
            "normalize": "per_feature",
            "window_size": 0.025,
            "window_stride": 0.01,
            "window": "hann",
            "features": MELS,
            "n_fft": 512,
            "log": True,
            "frame_splicing": 1,
            "dither": 1e-5,
            "pad_to": 0,
            "pad_value": 0.0,
        },
        "encoder": {
            "_target_": f"{ASR}.ConformerEncoder",
            "feat_in": MELS,
            "feat_out": -1,
            "n_layers": layers,
            "d_model": width,
            "use_bias": False,
            "subsampling": "dw_striding",
            "subsampling_factor": 8,
            "subsampling_conv_channels": 32,
            "causal_downsampling": False,
            "ff_expansion_factor": 4,
            "self_attention_model": "rel_pos",
            "n_heads": 4,
            "att_context_size": [-1, -1],
            "att_context_style": "regular",
            "xscaling": False,
            "untie_biases": True,
            "pos_emb_max_len": 5000,
            "conv_kernel_size": 9,
            "conv_norm_type": "batch_norm",
            "conv_context_size": None,
            "dropout": 0.0,
            "dropout_pre_encoder": 0.0,
            "dropout_emb": 0.0,
            "dropout_att": 0.0,
            "stochastic_depth_drop_prob": 0.0,
        },
        "decoder": {
            "_target_": f"{ASR}.RNNTDecoder",
            "normalization_mode": None,
            "random_state_sampling": False,
            "blank_as_pad": True,
            "prednet": {"pred_hidden": HIDDEN, "pred_rnn_layers": 1, "t_max": None, "dropout": 0.0},
        },
        "joint": {
            "_target_": f"{ASR}.RNNTJoint",
            "log_softmax": None,
            "preserve_memory": False,
            "fuse_loss_wer": False,
            "fused_batch_size": -1,
            "num_extra_outputs": len(DURATIONS),
            "jointnet": {"joint_hidden": HIDDEN, "activation": "relu", "dropout": 0.0},
        },
        "decoding": {
            "strategy": "greedy_batch",
            "model_type": "tdt",
            "durations": DURATIONS,
            "greedy": {"max_symbols": 10},
            "beam": {"beam_size": 2, "return_best_hypothesis": False},
        },
        # never computed by NeMo here, which can do it on CUDA only: tdt_loss.py is
        "loss": {
            "loss_name": "tdt",
            "tdt_kwargs": {
                "fastemit_lambda": 0.0,
                "clamp": -1.0,
                "durations": DURATIONS,
                "sigma": 0.02,
                "omega": 0.1,
            },
        },
        "interctc": {"loss_weights": [], "apply_at_layers": []},
    }


def built(width: int, layers: int) -> Any:
    """An untrained model."""
    from nemo.collections.asr.models import EncDecRNNTBPEModel

    folder = Path(tempfile.mkdtemp())
    tokenizer(folder)
    model = EncDecRNNTBPEModel(cfg=OmegaConf.create(settings(folder, width, layers)))
    with open_dict(model.cfg):  # after the constructor; transcribe() reads it
        model.cfg.validation_ds = {"sample_rate": 16000, "batch_size": 4, "use_start_end_token": False}
    return model


class Batch(NamedTuple):
    """Features (B, mels, T) and labels (B, U) with their lengths."""

    features: Tensor
    frames: Tensor
    labels: Tensor
    lengths: Tensor


def batched(model: Any, recordings: list[Recording]) -> Batch:
    sizes = torch.tensor([len(one.samples) for one in recordings])
    sound = torch.zeros(len(recordings), int(sizes.max()))
    texts = [model.tokenizer.text_to_ids(one.text) if one.text else [] for one in recordings]
    lengths = torch.tensor([len(text) for text in texts])
    labels = torch.zeros(len(recordings), int(lengths.max()), dtype=torch.long)
    for row, (one, text) in enumerate(zip(recordings, texts, strict=True)):
        sound[row, : len(one.samples)] = torch.from_numpy(one.samples)
        labels[row, : len(text)] = torch.tensor(text, dtype=torch.long)
    with torch.no_grad():
        features, frames = model.preprocessor(input_signal=sound, length=sizes)
    return Batch(features, frames, labels, lengths)


def masked(features: Tensor) -> Tensor:
    """With a random band of frequencies left out of each item."""
    features = features.clone()
    for item in features:
        width = random.randint(0, 20)
        start = random.randint(0, item.shape[0] - width - 1)
        item[start : start + width] = 0
    return features


def loss_of(model: Any, helper: nn.Linear, batch: Batch, mask: bool) -> Tensor:
    """The transducer's loss, and half of a CTC loss on a head of its own that starts the alignment."""
    blank = model.tokenizer.vocab_size
    features = masked(batch.features) if mask else batch.features
    encoded, frames = model.encoder(audio_signal=features, length=batch.frames)
    predicted, _, _ = model.decoder(targets=batch.labels, target_length=batch.lengths)
    joint = model.joint(encoder_outputs=encoded, decoder_outputs=predicted)
    mine = tdt_loss(joint, batch.labels, frames, batch.lengths, blank, DURATIONS)
    scores = helper(encoded.transpose(1, 2)).log_softmax(-1).transpose(0, 1)
    ctc = nn.functional.ctc_loss(
        scores, batch.labels, frames, batch.lengths, blank=blank, zero_infinity=True
    )
    return (mine / batch.lengths.clamp(min=1)).mean() + 0.5 * ctc


def error_rate(model: Any, recordings: list[Recording]) -> float:
    model.eval()
    sounds = [torch.from_numpy(one.samples) for one in recordings]
    texts = [found.text for found in model.transcribe(sounds, batch_size=BATCH, verbose=False)]
    model.train()
    wrong = sum(
        errors(one.text.split(), text.split()) for one, text in zip(recordings, texts, strict=True)
    )
    return wrong / sum(len(one.text.split()) for one in recordings)


def train(model: Any, args: argparse.Namespace) -> None:
    """Train by the clock; keep what does best on recordings that were not trained on."""
    learned = Recorder(0).speech(args.recordings) + Recorder(1).nothing(args.recordings // 17 + 1)
    held_out = Recorder(2).speech(max(args.recordings // 17, 2))
    model.preprocessor.featurizer.dither = 0.0
    model.spec_augmentation = None
    learned.sort(key=lambda one: len(one.samples))
    batches = [batched(model, learned[at : at + BATCH]) for at in range(0, len(learned), BATCH)]
    helper = nn.Linear(args.width, model.tokenizer.vocab_size + 1)
    weights = [*model.parameters(), *helper.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=2e-3, betas=(0.9, 0.98), weight_decay=1e-3)
    began, step, epoch, best = time.monotonic(), 0, 0, math.inf
    model.train()
    share = 0.0
    while share < 1:
        random.shuffle(batches)
        total = 0.0
        for batch in batches:
            share = min(1.0, (time.monotonic() - began) / (args.minutes * 60))
            rate = 2e-3 * min(1, (step + 1) / 200) * (0.02 + 0.49 * (1 + math.cos(math.pi * share)))
            optimizer.param_groups[0]["lr"] = rate
            loss = loss_of(model, helper, batch, mask=epoch > 3)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            step += 1
            total += float(loss)
            if share >= 1:
                break
        epoch += 1
        if epoch % 3 == 0 or share >= 1:
            rate = error_rate(model, held_out)
            print(f"epoch {epoch} step {step} loss {total / len(batches):.3f} error rate {rate:.4f}")
            if rate <= best:
                best = rate
                model.save_to(str(args.out))


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--recordings", type=int, default=2600)
    parser.add_argument("--width", type=int, default=80)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    logging.getLogger("nv_one_logger").setLevel(logging.CRITICAL)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    random.seed(0)
    train(built(args.width, args.layers), args)


if __name__ == "__main__":
    main()
