"""Scripted stand-ins for the engine families, so that routing can be seen on a machine with none.

They play the scripts of `aistack.engines.fake`; only what they say of themselves is the real ones'.
"""

from __future__ import annotations

import importlib
from collections.abc import Generator, Mapping

from attrs import evolve

from aistack.chunks import Generated, GenerationRequest, ModelSpec, Report, Token
from aistack.engines.base import CancelToken, OfferedModel, Yielded
from aistack.engines.fake import FakeEngine
from aistack.engines.nanochat.engine import Nanochat
from aistack.engines.parakeet import Parakeet
from aistack.engines.sensevoice import SenseVoice
from aistack.engines.sphinx import Sphinx
from aistack.engines.whisper import Whisper
from aistack.weights.whisper import SIZES

_CODES = "en bg hr cs da nl et fi fr de el hu it lv lt mt pl pt ro ru sk sl es sv uk"
EUROPEAN = tuple(_CODES.split())
"""Parakeet's twenty-five."""


class FakeWhisper(FakeEngine):
    name = "whisper"
    provider = "Faster-Whisper"
    auto = Whisper.auto
    operator_models = Whisper.operator_models

    def models(self) -> tuple[OfferedModel, ...]:
        return tuple(evolve(model, created=1) for model in Whisper().models())

    def weights(self, model: ModelSpec, environ: Mapping[str, str]) -> bool:
        return model.id == "whisper-small" or model.source not in SIZES


class FakeParakeet(FakeEngine):
    name = "parakeet"
    provider = "Parakeet"
    auto = Parakeet.auto
    family = Parakeet.family

    def models(self) -> tuple[OfferedModel, ...]:
        return (
            OfferedModel("nvidia/parakeet-tdt-0.6b-v3", "nvidia", "asr", EUROPEAN, False, created=1),
        )


class FakeSenseVoice(FakeEngine):
    name = "sensevoice"
    provider = "SenseVoice"
    auto = SenseVoice.auto
    family = SenseVoice.family

    def models(self) -> tuple[OfferedModel, ...]:
        languages = ("zh", "yue", "en", "ja", "ko")
        return (OfferedModel("iic/SenseVoiceSmall", "alibaba", "asr", languages, created=1),)


class FakeSphinx(FakeEngine):
    name = "sphinx"
    provider = "PocketSphinx"
    auto = Sphinx.auto

    def models(self) -> tuple[OfferedModel, ...]:
        return (OfferedModel("pocketsphinx-en-us", "cmusphinx", "asr", ("en",), created=1),)


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
