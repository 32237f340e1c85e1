"""Utterances of digits: mel power spectra in which the place of every word is known."""

from __future__ import annotations

import random
from typing import NamedTuple

import numpy as np
from faster_whisper.feature_extractor import FeatureExtractor
from numpy.typing import NDArray

from contrib.dev.tiny_models.espeak import Espeak
from contrib.dev.tiny_models.vocabulary import WORDS

RATE = 16_000
HOP = 160

ENGLISH = "en-us en-us en-us+f1 en-us+f2 en-us+m1 en-us+m3 en-us+m7 en en+f3 en-gb-x-rp"
VOICES = {
    "en": ENGLISH.split(),
    "de": ["de", "de+f2", "de+m3"],
    "zh": ["cmn", "cmn+f2", "cmn+m3"],
}
SHARE = {"en": 0.6, "de": 0.2, "zh": 0.2}
"""How much of the speech is in which language."""


class Utterance(NamedTuple):
    """Some digits spoken in one go. `times` are the words' (start, end) in mel frames of 10 ms."""

    language: str
    words: list[str]
    times: list[tuple[float, float]]
    power: NDArray[np.float32]

    @property
    def frames(self) -> int:
        return int(self.power.shape[1])


def resampled(samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """The same sound at 16 kHz."""
    if rate == RATE:
        return samples
    size = round(len(samples) * RATE / rate)
    spectrum = np.fft.rfft(samples)[: size // 2 + 1]
    return (np.fft.irfft(spectrum, size) * (size / len(samples))).astype(np.float32)


class Mel:
    """Mel power as faster-whisper's own features have it, before the logarithm."""

    def __init__(self) -> None:
        self._extractor = FeatureExtractor()
        self._window = np.hanning(self._extractor.n_fft + 1)[:-1].astype(np.float32)

    def power(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        extractor = self._extractor
        spectrum = extractor.stft(
            np.pad(samples, (0, HOP)),
            extractor.n_fft,
            extractor.hop_length,
            window=self._window,
            return_complex=True,
        )
        mel: NDArray[np.float32] = extractor.mel_filters @ (np.abs(spectrum[..., :-1]) ** 2)
        return mel.astype(np.float32)


def some_words(language: str, rng: random.Random, most: int = 6) -> list[str]:
    return [rng.choice(WORDS[language]) for _ in range(rng.randint(1, most))]


def _sounding(samples: NDArray[np.float32], starts: list[float]) -> list[tuple[float, float]] | None:
    """Each word trimmed to where there is sound, in mel frames; none if one is hardly audible."""
    loudness = np.convolve(np.abs(samples), np.ones(HOP) / HOP, "same")
    loud = np.nonzero(loudness > 0.01 * loudness.max())[0]
    ends = [*starts[1:], len(samples) / RATE]
    times = []
    for start, end in zip(starts, ends, strict=True):
        inside = loud[(loud >= start * RATE) & (loud < end * RATE)]
        if len(inside) < 2 * HOP:
            return None
        times.append((inside[0] / HOP, (inside[-1] + 1) / HOP))
    return times


def utter(espeak: Espeak, mel: Mel, language: str, rng: random.Random) -> Utterance | None:
    """One random utterance; none if the synthesiser did not tell where all its words are."""
    words = some_words(language, rng)
    marks = [", " if rng.random() < 0.12 else " " for _ in words]
    text = "".join(word + mark for word, mark in zip(words, marks, strict=True)).rstrip(", ")
    voice = rng.choice(VOICES[language])
    spoken = espeak.say(text, voice, rng.randint(110, 215), rng.randint(20, 80), rng.randint(20, 70))
    at_character = {character: start for start, character in spoken.words}
    starts, character = [], 0
    for word, mark in zip(words, marks, strict=True):
        if character not in at_character:
            return None
        starts.append(at_character[character])
        character += len(word + mark)
    samples = resampled(spoken.samples, spoken.rate)
    times = _sounding(samples, starts)
    return None if times is None else Utterance(language, words, times, mel.power(samples))


def make_bank(size: int, seed: int) -> dict[str, list[Utterance]]:
    """`size` utterances by language (about 1.3 s of speech each, made in 10 ms)."""
    espeak, mel, rng = Espeak(), Mel(), random.Random(seed)
    bank: dict[str, list[Utterance]] = {language: [] for language in SHARE}
    for language, share in SHARE.items():
        while len(bank[language]) < size * share:
            utterance = utter(espeak, mel, language, rng)
            if utterance is not None:
                bank[language].append(utterance)
    return bank
