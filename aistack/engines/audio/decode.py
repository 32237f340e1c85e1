"""Any audio file as 16 kHz mono samples, one block after another, in bounded memory.

The decoder is PyAV, driven packet by packet: the iterators that libraries build on it are dead
after the first damaged packet, and 300 bad bytes would silently cut a file there. A file is never
held whole: what is decoded is handed on in blocks of about a second, and an engine that needs longer
stretches gets them from `pieces`, cut where the audio is quietest. So memory depends on the length
of a piece and not on the length of the file.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from aistack.chunks import Progress
from aistack.engines.audio.samples import RATE, AudioPiece, as_floats
from aistack.errors import BackendFault, Code, Fault, unreadable_audio

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from aistack.engines.base import CancelToken

    Samples = NDArray[np.int16]

BLOCK = RATE
"""Samples per block, at least (the last block may be shorter)."""

PATIENCE = 100
"""Reads in a row that may fail before the rest of a damaged file is given up."""

_REFERRING = """
    alias_pix alsa concat dash fbdev hls image2 imf kmsgrab lavfi rtp rtsp sap sdp video4linux2 v4l2
    webm_dash_manifest x11grab xcbgrab
"""
REFERRING = frozenset(_REFERRING.split())
"""Formats that are not audio but name other files, addresses or devices to read: never opened."""


def unusable_audio(message: str, provider: str) -> BackendFault:
    """The 400 for a file that is not usable audio."""
    return BackendFault(Fault(Code.UNSUPPORTED_AUDIO, message, provider, param="file"))


@functools.cache
def _formats() -> str:
    """The names of all formats that may be opened, as FFmpeg's `format_whitelist` wants them."""
    import av

    return ",".join(sorted(av.formats_available - REFERRING))


@functools.cache
def _lenient() -> dict[str, Any]:
    """How a file is opened whose title is not UTF-8, as many old ones are.

    PyAV before 19 must be asked to overlook it; PyAV 19 always does, and refuses the keyword. Its
    `open` has no signature that could be looked at, so its version decides.
    """
    import av

    return {"metadata_errors": "ignore"} if int(av.__version__.partition(".")[0]) < 19 else {}


class Audio:
    """One file, decoded once while it is iterated over. Iterating yields int16 blocks.

    Raises BackendFault (400 `unsupported_audio`) if there is nothing to hear in the file, and the
    operating system's errors if the file itself cannot be read, which is not the client's fault.
    Iteration ends early, without a word, once `cancel` is set.
    """

    def __init__(self, path: str, provider: str, cancel: CancelToken) -> None:
        self._path = path
        self._provider = provider
        self._cancel = cancel
        self._samples = 0
        self._declared = 0.0

    @property
    def seconds(self) -> float:
        """How much has been decoded; the true length once the iteration is over."""
        return self._samples / RATE

    @property
    def expected(self) -> float | None:
        """The length as far as it is known: what the container declares, or more if there was more."""
        return max(self._declared, self.seconds) or None

    def progress(self, done: float) -> Progress:
        """How far a run is that has worked on the first `done` seconds."""
        return Progress(done, self.expected, "s")

    def __iter__(self) -> Iterator[Samples]:
        import av
        import numpy as np

        try:
            container = av.open(
                self._path,
                **_lenient(),
                options={"format_whitelist": _formats(), "protocol_whitelist": "file"},
            )
        except OSError:  # missing, a directory, forbidden: PyAV raises the builtin classes too
            raise
        except av.error.FFmpegError as exc:
            raise BackendFault(unreadable_audio(self._provider)) from exc
        with container:
            if not container.streams.audio:
                raise unusable_audio("The file has no audio track.", self._provider)
            stream = container.streams.audio[0]
            if stream.codec_context is None:
                raise unusable_audio("The file's audio codec is not supported.", self._provider)
            self._declared = _declared(container, stream)
            held: list[Samples] = []
            size = 0
            for samples in _resampled(_frames(container, stream, self._cancel)):
                held.append(samples)
                size += samples.size
                self._samples += samples.size
                if size >= BLOCK:
                    yield np.concatenate(held)
                    held, size = [], 0
            if held:
                yield np.concatenate(held)
        if not self._samples and not self._cancel.is_set():
            raise unusable_audio("The file holds no sound: its audio is 0 seconds long.", self._provider)


class SignsOfLife:
    """Progress while a run has nothing else to yield, since silence is taken for a hang.

    One for every `every_s` seconds of audio that were decoded since the last.
    """

    def __init__(self, audio: Audio, every_s: float) -> None:
        self._audio = audio
        self._every_s = every_s
        self._last = 0.0

    def due(self, done: float) -> Iterator[Progress]:
        """The sign that is due now, if one is; `done` is how much was worked on, in seconds."""
        if self._audio.seconds >= self._last + self._every_s:
            self._last = self._audio.seconds
            yield self._audio.progress(done)


def _declared(container: Any, stream: Any) -> float:
    """The length that the file claims, in seconds; 0 if it claims none."""
    if container.duration and container.duration > 0:
        return float(container.duration) / 1_000_000  # AV_TIME_BASE
    if stream.duration and stream.duration > 0 and stream.time_base:
        return float(stream.duration * stream.time_base)
    return 0.0


def _frames(container: Any, stream: Any, cancel: CancelToken) -> Iterator[Any]:
    """Every frame that can be decoded; damaged packets are left out."""
    import av

    failures = 0
    while failures < PATIENCE:
        try:
            for packet in container.demux(stream):
                if cancel.is_set():
                    return
                failures = 0
                try:
                    frames = packet.decode()
                except av.error.FFmpegError:
                    continue
                yield from frames
            return
        except (av.error.FFmpegError, EOFError):
            failures += 1  # this demuxing generator is dead; a new one goes on behind the bad bytes


def _resampled(frames: Iterator[Any]) -> Iterator[Samples]:
    """The frames as 16 kHz mono int16 arrays.

    A damaged frame may claim another rate or layout than its neighbours, which a resampler refuses
    from then on; so a new one takes over.
    """
    from av.audio.resampler import AudioResampler

    resampler, shape = None, None
    for frame in frames:
        seen = (frame.format.name, frame.layout.name, frame.sample_rate)
        if seen != shape or resampler is None:
            if resampler is not None:
                yield from _arrays(resampler.resample(None))
            resampler, shape = AudioResampler(format="s16", layout="mono", rate=RATE), seen
        frame.pts = None  # gaps left by damaged packets are no reason to stop
        yield from _arrays(resampler.resample(frame))
    if resampler is not None:
        yield from _arrays(resampler.resample(None))


def _arrays(frames: list[Any]) -> Iterator[Samples]:
    for frame in frames:
        if frame.samples:
            yield frame.to_ndarray().reshape(-1)


# --- longer stretches ------------------------------------------------------------------------------


SEARCH_S = 20
"""How far around its wished length a piece may end, to end in a pause."""


def pieces(blocks: Iterator[Samples], length_s: float) -> Iterator[AudioPiece | None]:
    """Stretches of about `length_s`, cut in a pause; a file up to 20 s longer than that is one piece.

    `None` is yielded after each block that completes no piece: a sign of life for the caller.
    """
    import numpy as np

    held: list[Samples] = []
    size = 0
    start = 0
    for block in blocks:
        held.append(block)
        size += block.size
        if size > (length_s + SEARCH_S) * RATE:
            whole = np.concatenate(held)
            cut = quietest(whole, int((length_s - SEARCH_S) * RATE))
            yield AudioPiece(start / RATE, as_floats(whole[:cut]))
            held, size = [whole[cut:]], whole.size - cut
            start += cut
        else:
            yield None
    if size:
        yield AudioPiece(start / RATE, as_floats(np.concatenate(held)))


def quietest(samples: Samples, from_: int) -> int:
    """The index at or behind `from_` in the middle of the quietest half second (to 20 ms)."""
    import numpy as np

    step, width = RATE // 50, 25
    tail = samples[max(from_, 0) :]
    frames = tail[: tail.size // step * step].reshape(-1, step)
    if len(frames) <= width:
        return int(samples.size)
    energy = np.square(frames.astype(np.float32)).mean(axis=1)
    smooth = np.convolve(energy, np.ones(width, np.float32), mode="valid")
    return max(from_, 0) + (int(np.argmin(smooth)) + width // 2) * step
