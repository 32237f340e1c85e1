"""What the engines listen to, and what they should hear: the recordings, joined and repeated."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.support.listening import AUDIO, RATE, SPOKEN, plain, samples_of, silence, write_wav

EN, DE, LONG = AUDIO / "digits-en.wav", AUDIO / "digits-de.wav", AUDIO / "digits-en-long.wav"
EN_TEXT: str = SPOKEN[EN.name]["text"]
LONG_TEXT: str = SPOKEN[LONG.name]["text"]

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
FIGURES = {str(n): word for n, word in enumerate(WORDS)}
HAN = dict(zip("零一二三四五六七八九", WORDS, strict=True))


def spoken(text: str) -> str:
    """Figures and Han characters as words: SenseVoice writes numbers so."""
    return " ".join(FIGURES.get(word, word) for word in plain(text))


def repeated(path: Path, times: int) -> Path:
    """The minute over and over."""
    return write_wav(path, np.tile(samples_of(LONG), times))


def unbroken(path: Path) -> Path:
    """What is said in the minute without its pauses: sentence upon sentence."""
    samples, gap = samples_of(LONG), silence(0.1)
    parts = [
        part
        for segment in SPOKEN[LONG.name]["segments"]
        for part in (samples[int((segment["start"] - 0.05) * RATE) : int(segment["end"] * RATE)], gap)
    ]
    return write_wav(path, np.concatenate(parts))
