"""Progress while a run has nothing else to yield: silence is taken for a hang."""

from __future__ import annotations

from collections.abc import Iterator

from aistack.chunks import Progress
from aistack.engines.audio.decode import Audio


class SignsOfLife:
    """One for every `every_s` seconds of audio that were decoded since the last."""

    def __init__(self, audio: Audio, every_s: float) -> None:
        self._audio = audio
        self._every_s = every_s
        self._last = 0.0

    def due(self, done: float) -> Iterator[Progress]:
        """The sign that is due now, if one is; `done` is how much was worked on, in seconds."""
        if self._audio.seconds >= self._last + self._every_s:
            self._last = self._audio.seconds
            yield self._audio.progress(done)
