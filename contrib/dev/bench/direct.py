"""The library called directly, one order a line: `{"path": ...}` -> seconds, first segment, text.

A process of its own with the engines' niceness and thread count, so that only the gateway differs.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import wave
from collections.abc import Iterator
from typing import Any

import numpy as np

from aistack.engines.audio.decode import Audio
from aistack.engines.audio.decode import pieces as cut
from aistack.engines.whisper import PIECE_S


class Whisper:
    """faster-whisper with the options the gateway uses."""

    def __init__(self, model: str) -> None:
        from faster_whisper import WhisperModel

        self.model = WhisperModel(model, device="cpu", compute_type="int8", cpu_threads=1)

    def segments(self, path: str, pieces: bool = False) -> Iterator[str]:
        """The whole file in one call, or (`pieces`) the stretches that the gateway's engine hears."""
        if not pieces:
            # faster-whisper 1.2.1 reads no file with PyAV 19
            blocks = list(Audio(path, "direct", threading.Event()))
            found, _ = self.heard(np.concatenate(blocks).astype(np.float32) / 32768, None)
            yield from (segment.text for segment in found)
            return
        audio = Audio(path, "direct", threading.Event())
        language = None
        for piece in cut(iter(audio), PIECE_S):
            if piece is not None:
                found, info = self.heard(piece.samples, language)
                language = info.language
                yield from (segment.text for segment in found)

    def heard(self, audio: Any, language: str | None) -> tuple[Any, Any]:
        segments, info = self.model.transcribe(
            audio,
            language=language,
            beam_size=5,
            vad_filter=True,
            word_timestamps=True,
            temperature=0.0,
        )
        return segments, info


class Sphinx:
    """pocketsphinx as its documentation shows: an endpointer, and a decoder for each utterance."""

    def __init__(self, model: str) -> None:
        from pocketsphinx import Decoder, Endpointer

        self.decoder = Decoder(samprate=16000)
        self.new = Endpointer

    def segments(self, path: str, pieces: bool = False) -> Iterator[str]:
        ends = self.new(sample_rate=16000)
        talking = False
        with wave.open(path) as wav:
            while True:
                frame = wav.readframes(ends.frame_bytes // 2)
                last = len(frame) < ends.frame_bytes
                speech = (
                    ends.end_stream(frame) if last and frame else ends.process(frame) if frame else None
                )
                if speech is not None:
                    if not talking:
                        self.decoder.start_utt()
                        talking = True
                    self.decoder.process_raw(speech)
                if talking and (not ends.in_speech or last):
                    self.decoder.end_utt()
                    talking = False
                    hypothesis = self.decoder.hyp()
                    if hypothesis is not None:
                        yield hypothesis.hypstr
                if last:
                    return


def main() -> None:
    engine, model, nice = sys.argv[1:]
    os.nice(int(nice))
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    libraries: dict[str, type[Whisper | Sphinx]] = {"whisper": Whisper, "sphinx": Sphinx}
    library = libraries[engine](model)
    for line in sys.stdin:
        order = json.loads(line)
        answer: dict[str, object] = {}
        if "path" in order:
            begin = time.perf_counter()
            first = None
            texts = []
            for text in library.segments(order["path"], order.get("pieces", False)):
                first = first or time.perf_counter() - begin
                texts.append(text.strip())
            answer = {
                "seconds": time.perf_counter() - begin,
                "first": first,
                "text": " ".join(texts),
            }
        out.write(json.dumps(answer) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
