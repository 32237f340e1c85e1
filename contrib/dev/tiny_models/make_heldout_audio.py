"""Write the recordings of tests/data/audio and what is said in them.

    python -m contrib.dev.tiny_models.make_heldout_audio tests/data/audio

The two short ones and the transcripts come out the same byte for byte (espeak-ng 1.52, numpy 2); in
the long one the words and their times do, while the noise in the consonants is new each time.
"""

from __future__ import annotations

import json
import random
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrib.dev.tiny_models.espeak import Espeak
from contrib.dev.tiny_models.speech import RATE, resampled
from contrib.dev.tiny_models.vocabulary import WORDS

Sound = NDArray[np.float32]
SHORT = (
    ("digits-en.wav", "en", "en-us", "three one four one five nine"),
    ("digits-de.wav", "de", "de", "zwei sieben eins acht"),
)


def pause(seconds: float) -> Sound:
    return np.zeros(int(seconds * RATE), np.float32)


def save(path: Path, samples: Sound) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        scaled = np.clip(samples.astype(np.float64), -1, 1) * 32767
        file.writeframes(scaled.astype("<i2").tobytes())


def segment(
    espeak: Espeak, text: str, voice: str, rate: int, pitch: int, at: float
) -> tuple[Sound, dict[str, Any]]:
    """The sound of a text, and how it is described if it starts `at` (seconds)."""
    spoken = espeak.say(text, voice, rate, pitch)
    samples = resampled(spoken.samples, spoken.rate)
    return samples, {
        "start": round(at, 2),
        "end": round(at + len(samples) / RATE, 2),
        "text": text,
        "word_starts": [round(at + start, 2) for start, _ in spoken.words],
    }


def main(folder: Path) -> None:
    espeak, rng = Espeak(), random.Random(20261120)
    document: dict[str, dict[str, Any]] = {}
    for name, language, voice, text in SHORT:
        samples, described = segment(espeak, text, voice, 150, 45, 0.3)
        save(folder / name, np.concatenate([pause(0.3), samples, pause(0.4)]))
        document[name] = {
            "language": language,
            "text": text,
            "segments": [described],
            "duration": round(len(samples) / RATE + 0.7, 2),
        }
        if language != "en":
            words = [WORDS["en"][WORDS[language].index(word)] for word in text.split()]
            document[name]["translation"] = " ".join(words)
    at, parts, segments = 0.5, [pause(0.5)], []
    while at < 62:
        text = " ".join(rng.choice(WORDS["en"]) for _ in range(rng.randint(1, 6)))
        voice = rng.choice(["en-us", "en-us+f2"])
        rate, pitch = rng.randint(130, 180), rng.randint(35, 65)
        samples, described = segment(espeak, text, voice, rate, pitch, at)
        gap = rng.uniform(0.6, 2.0)
        parts += [samples, pause(gap)]
        at += len(samples) / RATE + gap
        segments.append(described)
    whole = np.concatenate(parts)
    save(folder / "digits-en-long.wav", whole)
    document["digits-en-long.wav"] = {
        "language": "en",
        "text": " ".join(described["text"] for described in segments),
        "segments": segments,
        "duration": round(len(whole) / RATE, 2),
    }
    text = json.dumps(document, ensure_ascii=False, indent=1)
    (folder / "transcripts.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
