"""Scripted stand-ins for the engine families, so that routing can be seen on a machine with none.

They play the scripts of `aistack.engines.fake`; only their cards are those of the real ones.
"""

from __future__ import annotations

import importlib
from collections.abc import Generator

from aistack.chunks import Generated, GenerationRequest, ModelSpec, Report, Token
from aistack.engines.base import CancelToken, ModelCard, Yielded
from aistack.engines.fake import FakeEngine
from aistack.engines.nanochat.engine import Nanochat
from aistack.engines.whisper import LANGUAGES

_CODES = "en bg hr cs da nl et fi fr de el hu it lv lt mt pl pt ro ru sk sl es sv uk"
EUROPEAN = tuple(_CODES.split())
"""Parakeet's twenty-five."""


class FakeWhisper(FakeEngine):
    name = "whisper"
    provider = "Faster-Whisper"

    def cards(self) -> tuple[ModelCard, ...]:
        return (ModelCard("whisper-small", "openai", "asr", LANGUAGES, translate=True, created=1),)


class FakeParakeet(FakeEngine):
    name = "parakeet"
    provider = "Parakeet"

    def cards(self) -> tuple[ModelCard, ...]:
        return (ModelCard("nvidia/parakeet-tdt-0.6b-v3", "nvidia", "asr", EUROPEAN, False, created=1),)


class FakeSenseVoice(FakeEngine):
    name = "sensevoice"
    provider = "SenseVoice"

    def cards(self) -> tuple[ModelCard, ...]:
        languages = ("zh", "yue", "en", "ja", "ko")
        return (ModelCard("iic/SenseVoiceSmall", "alibaba", "asr", languages, created=1),)


class FakeSphinx(FakeEngine):
    name = "sphinx"
    provider = "PocketSphinx"

    def cards(self) -> tuple[ModelCard, ...]:
        return (ModelCard("pocketsphinx-en-us", "cmusphinx", "asr", ("en",), created=1),)


class NotInstalled(FakeParakeet):
    """An engine whose library is not there."""

    requires = ("no_such_library_anywhere",)
    install = "pip install no-such-library"


FAMILIES = {
    "whisper": "tests.doubles.engines:FakeWhisper",
    "parakeet": "tests.doubles.engines:FakeParakeet",
    "sensevoice": "tests.doubles.engines:FakeSenseVoice",
}
SPHINX = {"sphinx": "tests.doubles.engines:FakeSphinx"}


class NoLibrary(Nanochat):
    """The engine for local weights on a machine that has not got its library."""

    requires = ("no_such_library_anywhere",)
    install = "pip install no-such-library"

    def warm(self) -> None:
        importlib.import_module("no_such_library_anywhere")


EARS = (*FAMILIES, *SPHINX)
"""The names of the real ASR engines, whichever libraries are installed here."""


class Talker(Nanochat):
    """Local weights that need no library: every tag says the same few words, whatever is asked."""

    requires = ()

    def warm(self) -> None:
        """Nothing heavy to import."""

    def load(self, model: ModelSpec, report: Report) -> None:
        """There is nothing to load."""

    def run(
        self, request: GenerationRequest, cancel: CancelToken
    ) -> Generator[Yielded, None, Generated]:
        words = ("Hello", ", ", "wörld \N{WAVING HAND SIGN}")[: request.max_tokens]
        for word in words:
            yield Token(word)
        return Generated(len(words), "stop", prompt_tokens=len(request.messages))
