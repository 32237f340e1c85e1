"""What both of FunASR's tiny models need: features of recordings, and the files of a model directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from contrib.dev.tiny_models.torch_engines.recordings import Samples

FRONTEND: dict[str, Any] = {
    "fs": 16000,
    "window": "hamming",
    "n_mels": 80,
    "frame_length": 25,
    "frame_shift": 10,
    "dither": 0.0,  # the library's default of 1 makes features differ from run to run
    "cmvn_file": None,
}


class Features:
    """FunASR's stacked log mel features, one (T, stacked mels) tensor a recording."""

    def __init__(self, stacked: int, every: int) -> None:
        from funasr.frontends.wav_frontend import WavFrontend

        self.settings = FRONTEND | {"lfr_m": stacked, "lfr_n": every}
        self._frontend = WavFrontend(**self.settings)

    def of(self, samples: Samples) -> Tensor:
        sound = torch.from_numpy(samples)[None]
        return self._frontend(sound, torch.tensor([len(samples)]))[0][0]


def normalisation(features: list[Tensor], path: Path) -> tuple[Tensor, Tensor]:
    """Mean and deviation over all frames; written as `am.mvn` in Kaldi's text form."""
    frames = torch.cat(features)
    mean, deviation = frames.mean(0), frames.std(0).clamp(min=1e-3)
    size = len(mean)

    def row(values: Tensor) -> str:
        return " ".join(f"{float(value):.6f}" for value in values)

    path.write_text(
        f"<Nnet>\n<Splice> {size} {size}\n[ 0 ]\n"
        f"<AddShift> {size} {size}\n<LearnRateCoef> 0 [ {row(-mean)} ]\n"
        f"<Rescale> {size} {size}\n<LearnRateCoef> 0 [ {row(1 / deviation)} ]\n</Nnet>\n"
    )
    return mean, deviation


def write_settings(folder: Path, settings: dict[str, Any]) -> None:
    with open(folder / "config.yaml", "w", encoding="utf-8") as file:
        yaml.safe_dump(settings, file, sort_keys=False)
