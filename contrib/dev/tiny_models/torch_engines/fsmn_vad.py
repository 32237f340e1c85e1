"""Build and train the tiny voice activity model (FunASR's FSMN-VAD).

python -m contrib.dev.tiny_models.torch_engines.fsmn_vad --out fsmn-vad-digits
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from contrib.dev.tiny_models.torch_engines.funasr_files import Features, normalisation, write_settings
from contrib.dev.tiny_models.torch_engines.recordings import Recorder, Samples

STACKED = 5
ENCODER = {
    "input_dim": 80 * STACKED,
    "input_affine_dim": 32,
    "fsmn_layers": 2,
    "linear_dim": 48,
    "proj_dim": 32,
    "lorder": 20,
    "rorder": 0,
    "lstride": 1,
    "rstride": 0,
    "output_affine_dim": 32,
    "output_dim": 8,
}
MODEL = {
    "sample_rate": 16000,
    "detect_mode": 1,
    "snr_mode": 0,
    "max_end_silence_time": 400,
    "max_start_silence_time": 3000,
    "do_start_point_detection": True,
    "do_end_point_detection": True,
    "window_size_ms": 200,
    "sil_to_speech_time_thres": 150,
    "speech_to_sil_time_thres": 150,
    "speech_2_noise_ratio": 1.0,
    "do_extend": 1,
    "lookback_time_start_point": 200,
    "lookahead_time_end_point": 100,
    "max_single_segment_time": 60000,
    "snr_thres": -100.0,
    "noise_frame_num_used_for_snr": 100,
    "decibel_thres": -100.0,
    "speech_noise_thres": 0.6,
    "fe_prior_thres": 1e-4,
    "silence_pdf_num": 1,
    "sil_pdf_ids": [0],
    "speech_noise_thresh_low": -0.1,
    "speech_noise_thresh_high": 0.3,
    "output_frame_probs": False,
    "frame_in_ms": 10,
    "frame_length_ms": 25,
}
BATCH = 16


def spoken(samples: Samples) -> Tensor:
    """Per frame of 10 ms whether somebody speaks: loud, by the recording's own levels, and near it."""
    count = 1 + (len(samples) - 400) // 160
    frames = np.stack([samples[n * 160 : n * 160 + 400] for n in range(count)])
    level = 10 * np.log10(np.square(frames).mean(axis=1) + 1e-10)
    loud = level > max(level.max() - 32, np.percentile(level, 5) + 8)
    return torch.from_numpy(np.convolve(loud, np.ones(7), "same") > 0)


def train(net: Any, items: list[tuple[Tensor, Tensor]], epochs: int) -> None:
    """Learn P(silence), the first output. Labels are softened: at exactly 1 the VAD takes log 0."""
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    for epoch in range(1, epochs + 1):
        random.shuffle(items)
        right = frames = 0
        for at in range(0, len(items), BATCH):
            batch = items[at : at + BATCH]
            loss = torch.zeros(())
            for features, speech in batch:
                talk = 1 - net(features[None])[0][:, 0].clamp(1e-6, 1 - 1e-6)
                target = speech.float() * 0.96 + 0.02
                loss = loss + torch.nn.functional.binary_cross_entropy(talk, target)
                right += int(((talk > 0.5) == speech).sum())
                frames += len(speech)
            optimizer.zero_grad()
            (loss / len(batch)).backward()
            optimizer.step()
        print(f"epoch {epoch} frames right {right / frames:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recordings", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=12)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    random.seed(0)
    from funasr.models.fsmn_vad_streaming.encoder import FSMN

    make = Features(STACKED, 1)
    items = []
    for one in Recorder(0).speech(args.recordings):
        features, speech = make.of(one.samples), spoken(one.samples)
        size = min(len(features), len(speech))
        items.append((features[:size], speech[:size]))
    for one in Recorder(1).nothing(args.recordings // 5):
        features = make.of(one.samples)
        items.append((features, torch.zeros(len(features), dtype=torch.bool)))
    mean, deviation = normalisation([features for features, _ in items], args.out / "am.mvn")
    net = FSMN(**ENCODER)
    train(net, [((features - mean) / deviation, speech) for features, speech in items], args.epochs)
    weights = {f"encoder.{name}": value for name, value in net.state_dict().items()}
    torch.save(weights, args.out / "model.pt")
    settings = {
        "frontend": "WavFrontendOnline",
        "frontend_conf": make.settings,
        "model": "FsmnVADStreaming",
        "model_conf": MODEL,
        "encoder": "FSMN",
        "encoder_conf": ENCODER,
    }
    write_settings(args.out, settings)


if __name__ == "__main__":
    main()
