"""Speech with exact word times: the espeak-ng library out of the wheel `espeakng-loader`, by ctypes.

espeak-ng keeps its state per process, so one lock guards all calls. The first utterances of a process
are always the same, byte for byte; the noise in later ones differs from run to run.
"""

from __future__ import annotations

import ctypes
import threading
from typing import Any, NamedTuple

import espeakng_loader
import numpy as np
from numpy.typing import NDArray

SYNCHRONOUS = 2
DONT_EXIT = 0x8000
CHARS_UTF8 = 1
PARAMETERS = {"rate": 1, "pitch": 3, "range": 4}
TERMINATED, WORD = 0, 1


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class Spoken(NamedTuple):
    """Samples in [-1, 1], their rate, and (start in seconds, index of the first character) per word."""

    samples: NDArray[np.float32]
    rate: int
    words: list[tuple[float, int]]


class Espeak:
    """The one synthesiser of this process. RuntimeError if the library cannot be started."""

    def __init__(self) -> None:
        self._lib = ctypes.CDLL(str(espeakng_loader.get_library_path()))
        data = str(espeakng_loader.get_data_path()).encode()
        self.rate: int = self._lib.espeak_Initialize(SYNCHRONOUS, 200, data, DONT_EXIT)
        if self.rate <= 0:
            raise RuntimeError(f"espeak-ng did not start ({self.rate})")
        self._lib.espeak_Synth.argtypes = [
            ctypes.c_char_p,
            ctypes.c_size_t,
            ctypes.c_uint,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.c_uint,
            ctypes.c_void_p,
            ctypes.c_void_p,
        ]
        self._lock = threading.Lock()
        self._audio: list[bytes] = []
        self._words: list[tuple[float, int]] = []
        self._callback = _Callback(self._arrived)  # the library keeps no reference
        self._lib.espeak_SetSynthCallback(self._callback)

    def _arrived(self, wave: Any, count: int, events: Any) -> int:
        if count > 0 and wave:
            self._audio.append(ctypes.string_at(wave, count * 2))
        index = 0
        while events[index].type != TERMINATED:
            event = events[index]
            if event.type == WORD:
                self._words.append((event.sample / self.rate, event.text_position - 1))
            index += 1
        return 0  # 1 would end the synthesis

    def say(self, text: str, voice: str, rate: int, pitch: int, range_: int = 50) -> Spoken:
        """Speak at `rate` words a minute; `pitch` and `range_` 0 to 100. ValueError: unknown voice."""
        with self._lock:
            self._audio, self._words = [], []
            if self._lib.espeak_SetVoiceByName(voice.encode()) != 0:
                raise ValueError(f"unknown voice {voice!r}")
            for name, value in (("rate", rate), ("pitch", pitch), ("range", range_)):
                self._lib.espeak_SetParameter(PARAMETERS[name], value, 0)
            data = text.encode() + b"\0"
            failed = self._lib.espeak_Synth(data, len(data), 0, 1, 0, CHARS_UTF8, None, None)
            if failed:
                raise RuntimeError(f"espeak-ng could not speak ({failed})")
            self._lib.espeak_Synchronize()
            samples = np.frombuffer(b"".join(self._audio), np.int16).astype(np.float32) / np.float32(
                32768
            )
            return Spoken(samples, self.rate, self._words)
