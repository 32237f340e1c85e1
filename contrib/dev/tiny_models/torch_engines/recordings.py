"""Recordings of digits with their text, spoken by espeak-ng: what the three models learn from.

A third is exactly what the synthesiser gives, the rest has pauses, other levels and noise. A recording
is 16 kHz float32; its text is one to three sentences of digit words, each with a full stop.
"""

from __future__ import annotations

import random
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from contrib.dev.tiny_models.espeak import Espeak

RATE = 16_000
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
VOICES = (
    *("en", "en-gb-scotland", "en-gb-x-rp", "en+m2", "en+f3", "en-us", "en-us+f1", "en-us+f2"),
    *("en-us+f4", "en-us+m1", "en-us+m3", "en-us+m4", "en-us+m5", "en-us+m7"),
)
PLAIN_SHARE = 0.35

Samples = NDArray[np.float32]


class Recording(NamedTuple):
    """Samples and what is said in them; no text is silence or noise."""

    samples: Samples
    text: str


def resampled(samples: Samples, rate: int) -> Samples:
    """The same sound at 16 kHz."""
    size = round(len(samples) * RATE / rate)
    spectrum = np.fft.rfft(samples)[: size // 2 + 1]
    return (np.fft.irfft(spectrum, size) * (size / len(samples))).astype(np.float32)


def trimmed(samples: Samples, loud: float = 0.004) -> Samples:
    """Without the silence around it, but for 10 ms."""
    at = np.nonzero(np.abs(samples) > loud)[0]
    return samples[max(0, at[0] - 160) : at[-1] + 160] if at.size else samples


class Recorder:
    """Makes recordings; the same seed gives the same texts, voices and pauses."""

    def __init__(self, seed: int) -> None:
        self._espeak = Espeak()
        self._random = random.Random(seed)
        self._noise = np.random.default_rng(seed)

    def _say(self, words: list[str], voice: str, speed: int, pitch: int) -> Samples:
        spoken = self._espeak.say(" ".join(words), voice, speed, pitch)
        return resampled(spoken.samples, spoken.rate)

    def _words(self, most: int) -> list[str]:
        return [self._random.choice(WORDS) for _ in range(self._random.randint(1, most))]

    def _silence(self, least: float, most: float) -> Samples:
        return np.zeros(int(RATE * self._random.uniform(least, most)), np.float32)

    def plain(self) -> Recording:
        """One sentence, just as the synthesiser speaks it."""
        words = self._words(5)
        speed = self._random.choice([140, 150, 160, 175, 185])
        samples = self._say(words, self._random.choice(VOICES), speed, 50)
        return Recording(samples, " ".join(words) + ".")

    def talk(self) -> Recording:
        """One to three sentences with pauses, in some level, with some noise."""
        draw = self._random
        voice, speed, pitch = draw.choice(VOICES), draw.randint(130, 190), draw.randint(30, 70)
        parts, texts = [self._silence(0, draw.choice([0, 0.1, 0.4]))], []
        for n in range(draw.choice([1, 1, 2, 3])):
            words = self._words(4)
            if n:
                parts.append(self._silence(0.5, 1.0))
            parts.append(trimmed(self._say(words, voice, speed, pitch)))
            texts.append(" ".join(words) + ".")
        parts.append(self._silence(0.05, 0.5))
        samples = np.concatenate(parts) * np.float32(10 ** (draw.uniform(-12, 0) / 20))
        noise = self._noise.standard_normal(len(samples)) * 10 ** draw.uniform(-4.5, -2.7)
        return Recording(np.clip(samples + noise, -1, 1).astype(np.float32), " ".join(texts))

    def speech(self, count: int) -> list[Recording]:
        return [
            self.plain() if self._random.random() < PLAIN_SHARE else self.talk() for _ in range(count)
        ]

    def nothing(self, count: int) -> list[Recording]:
        """Silence and noise from a quarter of a second to four: models must learn to say nothing."""
        found = []
        for n in range(count):
            noise = self._noise.standard_normal(self._random.randint(RATE // 4, 4 * RATE))
            level = 0.0 if n % 6 == 0 else 10 ** self._random.uniform(-5, -1.5)
            found.append(Recording((noise * level).astype(np.float32), ""))
        return found


def errors(wanted: list[str], got: list[str]) -> int:
    """The fewest words to change, add or leave out."""
    row = list(range(len(got) + 1))
    for i, word in enumerate(wanted, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(got, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]
