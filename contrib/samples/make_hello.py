"""Make hello.wav: three sentences spoken by flite's voice slt, with pauses of half a second.

apt-get install flite
python contrib/samples/make_hello.py contrib/samples/hello.wav
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import wave
from pathlib import Path

SENTENCES = (
    "Hello there.",
    "The weather is nice today.",
    "The boys went to the river with their father.",
)
RATE = 16_000
LEAD_S = 0.4
PAUSE_S = 0.5


def spoken(sentence: str, folder: Path) -> bytes:
    """One sentence as 16-bit mono samples at 16 kHz."""
    path = folder / "sentence.wav"
    subprocess.run(["flite", "-voice", "slt", "-t", sentence, "-o", str(path)], check=True)
    with wave.open(str(path), "rb") as file:
        if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (RATE, 1, 2):
            raise ValueError("flite did not write 16 kHz mono")
        return file.readframes(file.getnframes())


def silence(seconds: float) -> bytes:
    return bytes(2 * round(seconds * RATE))


def main(target: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        parts = [spoken(sentence, Path(folder)) + silence(PAUSE_S) for sentence in SENTENCES]
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(silence(LEAD_S) + b"".join(parts))


if __name__ == "__main__":
    main(sys.argv[1])
