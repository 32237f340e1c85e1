"""What the real engines listen to: no more of the recordings than a test needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from attrs import frozen

from tests.support.listening import AUDIO, HELLO, RATE, SPOKEN, samples_of, write_wav

EN, DE, LONG = AUDIO / "digits-en.wav", AUDIO / "digits-de.wav", AUDIO / "digits-en-long.wav"
EN_TEXT: str = SPOKEN[EN.name]["text"]
DE_TEXT: str = SPOKEN[DE.name]["text"]
LONG_S = 20
"""The long recording has a pause here, and many utterances before."""
HELLO_S = 4
"""The sentences have a pause here, after the second."""


@frozen
class Sound:
    """A file, and what is said in it."""

    file: Path
    said: str

    @property
    def seconds(self) -> float:
        return len(samples_of(self.file)) / RATE


def digits() -> Sound:
    return Sound(EN, EN_TEXT)


def many_digits(folder: Path) -> Sound:
    """Several segments for Whisper."""
    said = [part["text"] for part in SPOKEN[LONG.name]["segments"] if part["end"] < LONG_S]
    file = write_wav(folder / "digits.wav", samples_of(LONG)[: LONG_S * RATE])
    return Sound(file, " ".join(said))


def sentences(folder: Path) -> Sound:
    """Two segments for the embedded engine."""
    file = write_wav(folder / "sentences.wav", samples_of(HELLO)[: HELLO_S * RATE])
    return Sound(file, "hello there the weather is nice today")


SOUNDS: dict[str, tuple[str, Callable[[Path], Sound]]] = {
    "whisper": ("whisper_", lambda folder: digits()),
    "whisper, many segments": ("whisper_", many_digits),
    "sphinx": ("sphinx_", sentences),
}
"""For every real engine: the fixture of its service, and something it understands."""
