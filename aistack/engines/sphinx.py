"""PocketSphinx: American English without any download; its model comes inside its wheel.

The audio is decoded, searched for speech and recognised together, 30 ms at a time, because the
library holds the interpreter's lock for the whole of a call: in small steps a cancelled run stops at
once. One utterance, from pause to pause, is one segment.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

from aistack.chunks import ModelSpec, Report, Segment, Transcript, TranscriptionRequest, Word
from aistack.config.installing import libraries
from aistack.engines.audio.decode import Audio, SignsOfLife
from aistack.engines.audio.samples import RATE
from aistack.engines.base import (
    AutoRules,
    CancelToken,
    EngineDefaults,
    OfferedModel,
    Yielded,
)
from aistack.engines.causes import kind_of_library, loading
from aistack.errors import ErrorKind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pocketsphinx import Decoder

MODEL_ID = "pocketsphinx-en-us"

SOFT_S = 15.0
"""From this length on an utterance ends in the next quiet moment, pause or not."""

HARD_S = 30.0
"""An utterance ends here in any case: its last passes take a time that grows with its length, and
nothing can stop them."""

QUIET = 0.1
"""How loud a quiet moment may be, as a share of the utterance's own mean amplitude."""

ALIVE_S = 5.0
"""How much audio is heard between two signs of life."""

FRAMES_PER_S = 100
"""PocketSphinx counts time in hundredths of a second."""


class Sphinx(EngineDefaults):
    """An Engine: see `engines.base`. English only; it cannot translate, and takes no prompt.

    `ModelSpec` has nothing to say here but its id: the model is the library's own.
    """

    name = "sphinx"
    provider = "PocketSphinx"
    requires: tuple[str, ...] = ("pocketsphinx", "av", "numpy")
    auto = AutoRules(last_resort=True)

    def __init__(self) -> None:
        self._decoder: Decoder | None = None
        self._cepstral_mean = ""

    @property
    def install(self) -> str:
        return libraries("pocketsphinx", "av", "numpy")

    def models(self) -> tuple[OfferedModel, ...]:
        return (
            OfferedModel(
                id=MODEL_ID,
                owned_by="cmusphinx",
                capability="asr",
                languages=("en",),
                created=1_664_928_000,  # 2022-10-05, the release of PocketSphinx 5
            ),
        )

    def warm(self) -> None:
        import av  # noqa: F401 - the imports are the point
        import numpy as np  # noqa: F401
        import pocketsphinx  # noqa: F401

    def load(self, model: ModelSpec, report: Report) -> None:
        self._decoder = None
        with loading(self):
            from pocketsphinx import Decoder

            self._decoder = Decoder(samprate=RATE, loglevel="FATAL")
            self._cepstral_mean = self._decoder.get_cmn(False)

    def run(
        self, request: TranscriptionRequest, cancel: CancelToken
    ) -> Generator[Yielded, None, Transcript]:
        """Yield a Segment and a Progress for each utterance; return the Transcript."""
        if self._decoder is None:
            raise RuntimeError("run before load")
        # the decoder adapts to the channel as it listens: each file starts from the same beginning
        self._decoder.reinit_feat()
        self._decoder.set_cmn(self._cepstral_mean)
        audio = Audio(request.path, self.provider, cancel)
        alive = SignsOfLife(audio, ALIVE_S)
        for segment in self._utterances(iter(audio), cancel):
            if cancel.is_set():
                break
            if segment is None:
                yield from alive.due(audio.seconds)
                continue
            yield segment
            yield audio.progress(audio.seconds)
        return Transcript("en", audio.seconds)

    def _utterances(
        self, blocks: Iterator[NDArray[np.int16]], cancel: CancelToken
    ) -> Iterator[Segment | None]:
        """A segment for each utterance with words in it, and none now and then in between."""
        from pocketsphinx import Endpointer

        assert self._decoder is not None
        endpointer = Endpointer(sample_rate=RATE)
        utterance = Utterance(self._decoder)
        try:
            for frame in framed(blocks, endpointer.frame_bytes):
                if cancel.is_set():
                    return
                whole = len(frame) == endpointer.frame_bytes
                if not whole and not endpointer.in_speech:
                    break  # less than a frame is left, and nobody is speaking
                speech = endpointer.process(frame) if whole else endpointer.end_stream(frame)
                if speech is not None:
                    utterance.hear(speech, endpointer.speech_start)
                    if not endpointer.in_speech or utterance.is_long_enough(speech):
                        yield utterance.end()
                        continue
                yield None
        finally:
            utterance.drop()

    def kind_of(self, exc: BaseException) -> ErrorKind | None:
        return kind_of_library(exc)


def framed(blocks: Iterator[NDArray[np.int16]], size: int) -> Iterator[bytes]:
    """The blocks as frames of `size` bytes; the last one is always shorter, and never empty.

    The endpointer gives up its last utterance only to a frame that is not a whole one, and refuses
    an empty one; so a file that ends on a frame's border gets one more sample of silence.
    """
    rest = b""
    for block in blocks:
        data = rest + block.tobytes()
        whole = len(data) // size * size
        for at in range(0, whole, size):
            yield data[at : at + size]
        rest = data[whole:]
    yield rest or b"\0\0"


class Utterance:
    """What is said between two pauses, while it is being heard."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._open = False
        self._start = 0.0
        self._bytes = 0
        self._loudness = 0.0

    @property
    def _seconds(self) -> float:
        return self._bytes / 2 / RATE

    def hear(self, speech: bytes, started: float) -> None:
        """Recognise some more; `started` is where the endpointer saw speech begin (seconds)."""
        if not self._open:
            # after a forced end, speech simply goes on where the part before it ended
            self._start = max(started, self._start + self._seconds)
            self._bytes, self._loudness = 0, 0.0
            self._decoder.start_utt()
            self._open = True
        self._decoder.process_raw(speech)
        self._bytes += len(speech)
        self._loudness += amplitude(speech) * len(speech)

    def is_long_enough(self, speech: bytes) -> bool:
        """Whether to end it although there is no pause; `speech` is what was heard last."""
        if self._seconds < SOFT_S:
            return False
        quiet = amplitude(speech) < QUIET * self._loudness / self._bytes
        return quiet or self._seconds >= HARD_S

    def end(self) -> Segment | None:
        """The segment, if there were words."""
        self._decoder.end_utt()
        self._open = False
        words = tuple(self._words())
        if not words:
            return None
        return Segment(
            start=words[0].start,
            end=words[-1].end,
            text=" ".join(word.word for word in words),
            words=words,
        )

    def _words(self) -> Iterator[Word]:
        end = self._start + self._seconds
        for found in self._decoder.seg() or ():
            word = spoken(found.word)
            if word:
                yield Word(
                    round(min(self._start + found.start_frame / FRAMES_PER_S, end), 3),
                    round(min(self._start + (found.end_frame + 1) / FRAMES_PER_S, end), 3),
                    word,
                )

    def drop(self) -> None:
        """Leave the decoder ready for the next run, whatever state this one ended in."""
        if self._open:
            self._decoder.end_utt()
            self._open = False


_VARIANT = re.compile(r"\(\d+\)$")


def spoken(word: str) -> str:
    """The word without its pronunciation's number; empty for silences, noises and sentence marks."""
    if word[:1] in "<[+":
        return ""
    return _VARIANT.sub("", word)


def amplitude(speech: bytes) -> float:
    """Mean absolute amplitude."""
    import numpy as np

    return float(np.abs(np.frombuffer(speech, np.int16).astype(np.float32)).mean())
