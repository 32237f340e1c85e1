"""How well a model directory hears, with faster-whisper itself: error rates, languages, word times.

python -m contrib.dev.tiny_models.evaluate tests/data/models/tiny-whisper-digits
"""

from __future__ import annotations

import random
import re
import sys
from typing import Any, NamedTuple

import numpy as np
from faster_whisper import WhisperModel
from numpy.typing import NDArray

from contrib.dev.tiny_models.espeak import Espeak
from contrib.dev.tiny_models.speech import RATE, resampled
from contrib.dev.tiny_models.vocabulary import WORDS

SETS = (
    ("en", "en-us"),
    ("en", "en-us+f2"),
    ("en", "en"),
    ("en", "en-us+f4"),  # this voice and the next were never trained on
    ("en", "en-us+m5"),
    ("de", "de"),
    ("zh", "cmn"),
)
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"vad_filter": True, "word_timestamps": True},
    {"beam_size": 1, "without_timestamps": True},
    {"beam_size": 1, "initial_prompt": "one two"},
)
MARGIN_S = 0.3


class Said(NamedTuple):
    samples: NDArray[np.float32]
    words: list[str]
    english: list[str]
    starts: list[float]


def say(espeak: Espeak, rng: random.Random, language: str, voice: str) -> Said:
    """One to six random digits between two short silences."""
    digits = [rng.randrange(10) for _ in range(rng.randint(1, 6))]
    words = [WORDS[language][digit] for digit in digits]
    spoken = espeak.say(
        " ".join(words), voice, rng.randint(115, 210), rng.randint(22, 78), rng.randint(20, 70)
    )
    margin = np.zeros(int(MARGIN_S * RATE), np.float32)
    samples = np.concatenate([margin, resampled(spoken.samples, spoken.rate), margin])
    starts = [start + MARGIN_S for start, _ in spoken.words]
    return Said(samples, words, [WORDS["en"][digit] for digit in digits], starts)


def words_of(text: str, language: str) -> list[str]:
    plain = re.sub(r"[^\w ]", " ", text.lower())
    return list(plain.replace(" ", "")) if language == "zh" else plain.split()


def edits(wanted: list[str], got: list[str]) -> int:
    """The fewest words to change, add or leave out."""
    row = list(range(len(got) + 1))
    for i, word in enumerate(wanted, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(got, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]


def rate(model: WhisperModel, said: list[Said], language: str, **options: Any) -> float:
    """Word error rate over some utterances."""
    wrong = total = 0
    translated = options.get("task") == "translate"
    for item in said:
        segments, _ = model.transcribe(item.samples, language=language, **options)
        wanted = item.english if translated else item.words
        got = words_of(" ".join(segment.text for segment in segments), "en" if translated else language)
        wrong += edits(wanted, got)
        total += len(wanted)
    return wrong / total


def word_errors(model: WhisperModel, said: list[Said]) -> NDArray[np.float64]:
    """How far off the starts of words are, in seconds; the first word of a window is always at 0."""
    errors: list[float] = []
    for item in said:
        segments, _ = model.transcribe(item.samples, language="en", word_timestamps=True)
        words = [word for segment in segments for word in segment.words or ()]
        if [word.word.strip() for word in words] == item.words:
            pairs = zip(words[1:], item.starts[1:], strict=True)
            errors += [abs(float(word.start) - start) for word, start in pairs]
    return np.array(errors)


def main(directory: str, count: int = 40) -> None:
    model = WhisperModel(directory, device="cpu", cpu_threads=1)
    espeak, rng = Espeak(), random.Random(4242)
    spoken: dict[str, list[Said]] = {}
    for language, voice in SETS:
        said = spoken[voice] = [say(espeak, rng, language, voice) for _ in range(count)]
        detected = sum(model.detect_language(item.samples)[0] == language for item in said)
        wer = rate(model, said, language, beam_size=1)
        print(f"{voice:10} WER {wer:.3f}, language right {detected}/{count}", flush=True)
    for voice, language in (("de", "de"), ("cmn", "zh")):
        wer = rate(model, spoken[voice], language, beam_size=1, task="translate")
        print(f"{voice:10} translated: WER {wer:.3f}", flush=True)
    for options in OPTIONS:
        print(f"en-us {options}: WER {rate(model, spoken['en-us'], 'en', **options):.3f}", flush=True)
    errors = word_errors(model, spoken["en-us"])
    print(
        f"word starts: median {np.median(errors):.3f} s off, 95 % within {np.quantile(errors, 0.95):.3f}"
    )


if __name__ == "__main__":
    main(sys.argv[1], *(int(argument) for argument in sys.argv[2:]))
