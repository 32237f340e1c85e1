"""The three libraries called directly, as their documentation shows, in a process of their own.

`python -m tests.http.engines.direct ENGINE`: a path a line, a JSON string of its text a line.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.listening import ROOT, TINY, samples_of
from tests.unit.engines.torch.conftest import NEMO, SENSEVOICE, VAD


class Direct:
    """One such process. It has begun to import when the constructor returns."""

    def __init__(self, engine: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.http.engines.direct", engine],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            text=True,
        )

    def hear(self, path: Path) -> str:
        """The text of a file."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the library's process has ended"
        text: str = json.loads(line)
        return text

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(30)
        self.process.stdout.close()


def whisper() -> Callable[[Path], str]:
    """faster-whisper as the gateway uses it: beam 5, voice activity, times of words, no drawing. It is
    given samples: its release 1.2.1 reads no file with PyAV 19."""
    import numpy as np
    from faster_whisper import WhisperModel

    model = WhisperModel(str(TINY), device="cpu", compute_type="int8", cpu_threads=1)

    def hear(path: Path) -> str:
        samples = samples_of(path).astype(np.float32) / 32768
        segments, _ = model.transcribe(
            samples, beam_size=5, vad_filter=True, word_timestamps=True, temperature=0.0
        )
        return " ".join(segment.text.strip() for segment in segments)

    return hear


def parakeet() -> Callable[[Path], str]:
    """NeMo: one call, full attention."""
    import numpy as np
    import torch
    from nemo.collections.asr.models import ASRModel

    torch.set_num_threads(1)
    model = ASRModel.restore_from(str(NEMO), map_location="cpu").eval()

    def hear(path: Path) -> str:
        samples = samples_of(path).astype(np.float32) / 32768
        return str(model.transcribe([samples], timestamps=True, verbose=False)[0].text)

    return hear


def sensevoice() -> Callable[[Path], str]:
    """FunASR's own pipeline of voice activity and speech; its tags are not the text."""
    from funasr import AutoModel

    model = AutoModel(
        model=str(SENSEVOICE),
        vad_model=str(VAD),
        vad_kwargs={"max_single_segment_time": 30_000, "max_end_silence_time": 400},
        device="cpu",
        ncpu=1,
        disable_update=True,
        disable_pbar=True,
    )

    def hear(path: Path) -> str:
        found = model.generate(input=str(path), cache={}, language="auto", use_itn=True)
        return re.sub(r"<\|[^|]*\|>", " ", str(found[0]["text"]))

    return hear


def main() -> None:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the libraries print
    hear = {"whisper": whisper, "parakeet": parakeet, "sensevoice": sensevoice}[sys.argv[1]]()
    for line in sys.stdin:
        out.write(json.dumps(hear(Path(line.strip()))) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
