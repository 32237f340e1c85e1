"""The embedded voice: eSpeak NG from a PyPI wheel that brings its library and data.

It sounds like a machine and needs no container, no card and no download. The library synthesises
into a callback; here that runs in a thread of the engine process, so that the first block is on its
way while the rest is still being spoken, and a cancel stops it at the next block.
"""

from __future__ import annotations

import contextlib
import ctypes as c
import queue
import threading
from collections.abc import Generator, Iterator
from typing import Any

from aistack.chunks import ModelSpec, Piece, Progress, Report, SynthesisRequest, Tail
from aistack.config.installing import libraries
from aistack.contract.speech import DEFAULT_LANGUAGE, EMBEDDED_ID, OPENAI_VOICES
from aistack.engines.base import CancelToken, EngineDefaults, OfferedModel, Yielded
from aistack.errors import BackendFault, Code, ErrorKind, malformed

BLOCK_MS = 100
WORDS_PER_MINUTE = 175
RATE_MIN, RATE_MAX = 80, 450
"""What the library itself can do; the rest of a speed is done on the sound."""
QUEUE_BLOCKS = 32
LOOK_S = 0.05
JOIN_S = 5.0

_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000
_UTF8 = 1
_END_PAUSE = 0x1000
_PARAMETER_RATE = 1
_POSITION_CHARACTER = 1

_Callback = c.CFUNCTYPE(c.c_int, c.POINTER(c.c_short), c.c_int, c.c_void_p)


class Library:
    """The C library, initialised once per process; it can say one thing at a time."""

    def __init__(self) -> None:
        """Raises OSError if the library or its data cannot be used."""
        import espeakng_loader

        self._lib = lib = c.CDLL(espeakng_loader.get_library_path())
        lib.espeak_Initialize.argtypes = [c.c_int, c.c_int, c.c_char_p, c.c_int]
        lib.espeak_SetVoiceByName.argtypes = [c.c_char_p]
        lib.espeak_SetParameter.argtypes = [c.c_int, c.c_int, c.c_int]
        lib.espeak_SetSynthCallback.argtypes = [_Callback]
        lib.espeak_Synth.argtypes = [
            *(c.c_char_p, c.c_size_t, c.c_uint, c.c_int),
            *(c.c_uint, c.c_uint, c.c_void_p, c.c_void_p),
        ]
        data = str(espeakng_loader.get_data_path()).encode()
        self.rate = int(lib.espeak_Initialize(_SYNCHRONOUS, BLOCK_MS, data, _DONT_EXIT))
        if self.rate <= 0:
            raise OSError(f"espeak_Initialize: {self.rate}")
        self._callback: Any = None

    def choose(self, voice: str) -> bool:
        """Whether there is such a voice; it is the one that speaks from now on."""
        return int(self._lib.espeak_SetVoiceByName(voice.encode())) == 0

    def say(self, text: str, words_per_minute: int, take: Any) -> None:
        """Speak into `take(samples) -> whether to go on`. Raises OSError."""

        def callback(samples: Any, count: int, events: Any) -> int:
            if samples and count > 0:
                return 0 if take(c.string_at(samples, count * 2)) else 1
            return 0

        self._callback = _Callback(callback)  # the library keeps no reference
        self._lib.espeak_SetSynthCallback(self._callback)
        self._lib.espeak_SetParameter(_PARAMETER_RATE, words_per_minute, 0)
        data = text.replace("\0", " ").encode("utf-8", "replace") + b"\0"
        flags = _UTF8 | _END_PAUSE
        error = int(
            self._lib.espeak_Synth(data, len(data), 0, _POSITION_CHARACTER, 0, flags, None, None)
        )
        if error:
            raise OSError(f"espeak_Synth: {error}")


class Espeak(EngineDefaults):
    """The engine behind `espeak-ng`."""

    name = "espeak"
    provider = "eSpeak NG"
    requires: tuple[str, ...] = ("espeakng_loader", "av")

    def __init__(self) -> None:
        self._library: Library | None = None

    @property
    def install(self) -> str:
        return libraries(extra="speech")

    def models(self) -> tuple[OfferedModel, ...]:
        return (OfferedModel(EMBEDDED_ID, "espeak-ng", "tts", word_timestamps=False),)

    def warm(self) -> None:
        import av  # noqa: F401 - what a run needs
        import espeakng_loader  # noqa: F401

    def load(self, model: ModelSpec, report: Report) -> None:
        """Initialise the library. Raises OSError."""
        self._library = Library()

    def run(self, request: SynthesisRequest, cancel: CancelToken) -> Generator[Yielded, None, Tail]:
        """Yield encoded blocks; the last bytes are the Tail."""
        from aistack.engines.audio.encode import AudioOut

        library = self._library
        assert library is not None
        language, variant = voice_of(request)
        if not library.choose(f"{language}+{variant}" if variant else language):
            raise BackendFault(_unknown_voice(request, language, variant))
        rate = WORDS_PER_MINUTE * request.speed
        own = min(max(rate, RATE_MIN), RATE_MAX)
        out = AudioOut(request.format, library.rate, rate / own)
        spoken = 0
        for samples in blocks(library, request.text, round(own), cancel):
            spoken += len(samples) // 2
            yield Progress(spoken / library.rate, None, "s")
            data = out.feed(samples)
            if data:
                yield Piece(data)
        return Tail(out.finish())

    def kind_of(self, exc: BaseException) -> ErrorKind | None:
        return ErrorKind.NETWORK if isinstance(exc, OSError | ImportError) else None


def voice_of(request: SynthesisRequest) -> tuple[str, str]:
    """Language and variant: OpenAI's names are variants, anything else is a voice of the library."""
    language = request.language or DEFAULT_LANGUAGE
    known = OPENAI_VOICES.get(request.voice.lower())
    if known is not None:
        return language, known
    own, _, variant = request.voice.partition("+")
    return own, variant


def _unknown_voice(request: SynthesisRequest, language: str, variant: str) -> Any:
    """The 400 for a voice, or a language, that the library does not have."""
    of_openai = request.voice.lower() in OPENAI_VOICES
    param = "language" if of_openai else "voice"
    value = language if of_openai else request.voice
    known = ", ".join(sorted(OPENAI_VOICES))
    hint = "" if of_openai else f" Accepted are {known}, and a language such as de or de+f2."
    return malformed(f"Unknown {param}: {value}.{hint}", Code.INVALID_FIELD, param)


_END = object()


def blocks(library: Library, text: str, rate: int, cancel: CancelToken) -> Iterator[bytes]:
    """The samples as they are spoken. Stops within a block once `cancel` is set or reading ends.

    Raises what the library raised.
    """
    spoken: queue.Queue[Any] = queue.Queue(QUEUE_BLOCKS)
    stop = threading.Event()

    def put(item: Any) -> bool:
        while not (stop.is_set() or cancel.is_set()):
            with contextlib.suppress(queue.Full):
                spoken.put(item, timeout=LOOK_S)
                return True
        return False

    def speak() -> None:
        try:
            library.say(text, rate, put)
        except OSError as exc:
            put(exc)
        finally:
            put(_END)

    thread = threading.Thread(target=speak, name="espeak", daemon=True)
    thread.start()
    try:
        while not cancel.is_set():
            try:
                item = spoken.get(timeout=LOOK_S)
            except queue.Empty:
                continue
            if item is _END:
                return
            if isinstance(item, OSError):
                raise item
            yield item
    finally:
        stop.set()
        thread.join(JOIN_S)
