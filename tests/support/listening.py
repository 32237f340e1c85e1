"""What the engines' tests share: running an engine, error rates, and making files to listen to."""

from __future__ import annotations

import json
import re
import struct
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
from attrs import frozen

from aistack.chunks import Progress, Segment, Transcript, TranscriptionRequest, Word
from aistack.engines.base import Engine

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "data" / "models" / "tiny-whisper-digits"
AUDIO = ROOT / "tests" / "data" / "audio"
HELLO = ROOT / "contrib" / "samples" / "hello.wav"
HELLO_TEXT = "hello there the weather is nice today the boys went to the river with their father"
SPOKEN: dict[str, Any] = json.loads((AUDIO / "transcripts.json").read_text(encoding="utf-8"))
RATE = 16_000


class Flag:
    """A cancel token that is set by hand, or by itself at the n-th look."""

    def __init__(self, looks: int | None = None) -> None:
        self.on = False
        self._left = looks

    def is_set(self) -> bool:
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self.on = True
        return self.on


@frozen
class Heard:
    """Everything that one run yielded and returned."""

    segments: list[Segment]
    progress: list[Progress]
    result: Transcript

    @property
    def text(self) -> str:
        return " ".join(segment.text for segment in self.segments)

    @property
    def words(self) -> list[Word]:
        return [word for segment in self.segments for word in segment.words or ()]


def listen(
    engine: Engine[TranscriptionRequest],
    path: Path | str,
    cancel: Flag | None = None,
    on_segment: Callable[[Segment], None] | None = None,
    **fields: Any,
) -> Heard:
    """Run an engine to the end of the file."""
    run = engine.run(TranscriptionRequest(str(path), **fields), cancel or Flag())
    segments: list[Segment] = []
    progress: list[Progress] = []
    while True:
        try:
            item = next(run)
        except StopIteration as stop:
            return Heard(segments, progress, stop.value)
        if isinstance(item, Progress):
            progress.append(item)
        else:
            assert isinstance(item, Segment)
            segments.append(item)
            if on_segment is not None:
                on_segment(item)


def plain(text: str) -> list[str]:
    """The words of a text, without case and punctuation."""
    return re.sub(r"[^\w\s']", " ", text.lower()).split()


def wer(reference: str, hypothesis: str) -> float:
    """Word error rate: the fewest words to change, add or leave out, per word of the reference."""
    wanted, got = plain(reference), plain(hypothesis)
    row = list(range(len(got) + 1))
    for i, word in enumerate(wanted, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(got, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1] / len(wanted)


def assert_in_order(heard: Heard) -> None:
    """Times never run backwards and never leave the audio; words lie in their segments."""
    end = 0.0
    for segment in heard.segments:
        assert end <= segment.start <= segment.end <= heard.result.duration + 0.001
        end = segment.end
        start = segment.start
        for word in segment.words or ():
            assert start <= word.start <= word.end <= segment.end
            start = word.start
    done = [step.done for step in heard.progress]
    assert done == sorted(done)
    assert all(step.total is None or step.done <= step.total + 0.001 for step in heard.progress)


# --- files -----------------------------------------------------------------------------------------


def samples_of(path: Path) -> np.ndarray:
    with wave.open(str(path), "rb") as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def write_wav(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def titled(path: Path, title: bytes) -> Path:
    """Give a WAV file a title, as the bytes that they are."""
    text = title + b"\0" * (1 + (len(title) + 1) % 2)
    info = b"INFOINAM" + struct.pack("<I", len(text)) + text
    whole = path.read_bytes() + b"LIST" + struct.pack("<I", len(info)) + info
    path.write_bytes(whole[:4] + struct.pack("<I", len(whole) - 8) + whole[8:])
    return path


def noise(seconds: float, loud: float = 3000.0) -> np.ndarray:
    return np.random.default_rng(7).normal(0, loud, int(seconds * RATE)).astype(np.int16)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * RATE), np.int16)


FORMATS: dict[str, tuple[str, str, int]] = {
    "wav": ("wav", "pcm_s16le", 16_000),
    "mp3": ("mp3", "libmp3lame", 16_000),
    "m4a": ("ipod", "aac", 16_000),
    "mp4": ("mp4", "aac", 44_100),
    "aac": ("adts", "aac", 16_000),
    "flac": ("flac", "flac", 16_000),
    "ogg": ("ogg", "libopus", 48_000),
    "webm": ("webm", "libopus", 48_000),
    "mkv": ("matroska", "aac", 48_000),
}
"""Extension: container, codec, rate."""


def encode(path: Path, samples: np.ndarray, kind: str = "", video: bool = False) -> Path:
    """Write 16 kHz samples as a file of a kind (its extension if not told), perhaps with a picture."""
    container, codec, rate = FORMATS[kind or path.suffix[1:]]
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, layout="mono")
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = 64_000
        if video:
            picture = out.add_stream("mpeg4", rate=5)
            picture.width, picture.height, picture.pix_fmt = 64, 64, "yuv420p"
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")
            for at in range(len(samples) * 5 // RATE):
                frame.pts = at
                out.mux(picture.encode(frame))
            out.mux(picture.encode(None))
        for at in range(0, len(samples), RATE):
            block = av.AudioFrame.from_ndarray(samples[at : at + RATE].reshape(1, -1), "s16", "mono")
            block.sample_rate = RATE
            block.pts = at
            out.mux(stream.encode(block))
        out.mux(stream.encode(None))
    return path


def film(path: Path, container: str = "mp4", codec: str = "mpeg4", layout: str = "yuv420p") -> Path:
    """Moving pictures without any sound."""
    frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=5)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 64, layout
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def png(path: Path) -> Path:
    return film(path, "image2", "png", "rgb24")
