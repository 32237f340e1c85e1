"""Samples in, OpenAI's six audio formats out, block by block, by PyAV (bundled FFmpeg libraries).

The muxer writes to a sink that cannot seek, so every format is one that can be played while it is
still being made.
"""

from __future__ import annotations

from typing import Any

RATE = 24000
"""What OpenAI's speech has, and the container's."""

_HOW: dict[str, tuple[str, str, dict[str, str]]] = {
    # format: (muxer, codec, muxer options)
    "mp3": ("mp3", "libmp3lame", {"write_xing": "0", "id3v2_version": "0"}),
    "opus": ("ogg", "libopus", {"page_duration": "100000"}),
    "aac": ("adts", "aac", {}),
    "flac": ("flac", "flac", {}),
    "wav": ("wav", "pcm_s16le", {}),
    "pcm": ("s16le", "pcm_s16le", {}),
}


class _Sink:
    """What the muxer writes; there is no going back in it."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)

    def take(self) -> bytes:
        data = bytes(self.data)
        self.data.clear()
        return data


class AudioOut:
    """One answer. `feed` with 16-bit mono samples of `rate`, then `finish`.

    `tempo` speeds the sound up (0.5 to 100) without touching its pitch.
    """

    def __init__(self, kind: str, rate: int, tempo: float = 1.0) -> None:
        """Raises KeyError for an unknown format."""
        import av

        muxer, codec, options = _HOW[kind]
        self._av = av
        self._rate = rate
        self._sink = _Sink()
        self._out = av.open(self._sink, "w", format=muxer, options={"flush_packets": "1", **options})
        stream: Any = self._out.add_stream(codec, rate=RATE)
        stream.layout = "mono"
        self._stream = stream
        self._resampler = av.AudioResampler(format=stream.format.name, layout="mono", rate=RATE)
        self._graph = None if tempo == 1.0 else _tempo_graph(av, rate, tempo)
        self._samples = 0

    def feed(self, samples: bytes) -> bytes:
        """The encoded bytes that these samples have completed, maybe none."""
        if not samples:
            return b""
        frame = self._av.AudioFrame(format="s16", layout="mono", samples=len(samples) // 2)
        frame.sample_rate = self._rate
        frame.pts = self._samples
        self._samples += frame.samples
        plane: Any = frame.planes[0]
        memoryview(plane)[: len(samples)] = samples
        if self._graph is None:
            self._encode(frame)
        else:
            self._graph.push(frame)
            self._pull()
        return self._sink.take()

    def finish(self) -> bytes:
        """The last bytes."""
        if self._graph is not None:
            self._graph.push(None)
            self._pull()
        self._encode(None)
        self._mux(None)
        self._out.close()
        return self._sink.take()

    def _pull(self) -> None:
        """What the tempo filter has ready."""
        assert self._graph is not None
        while True:
            try:
                frame = self._graph.pull()
            except (self._av.error.BlockingIOError, self._av.error.EOFError):
                return
            self._encode(frame)

    def _encode(self, frame: Any) -> None:
        for resampled in self._resampler.resample(frame):
            resampled.pts = None
            self._mux(resampled)

    def _mux(self, frame: Any) -> None:
        for packet in self._stream.encode(frame):
            self._out.mux(packet)


def _tempo_graph(av: Any, rate: int, tempo: float) -> Any:
    """Samples through FFmpeg's `atempo`."""
    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=rate, format="s16", layout="mono")
    filter_ = graph.add("atempo", f"{tempo:.6f}")
    sink = graph.add("abuffersink")
    source.link_to(filter_)
    filter_.link_to(sink)
    graph.configure()
    return graph
