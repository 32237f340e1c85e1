"""A speech request for the embedded voice: OpenAI's body, read strictly; formats, voices, languages.

Pure. Requests for the container are not read here: the container judges its own bodies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from attrs import frozen

from aistack.chunks import SynthesisRequest
from aistack.contract.converters import structure
from aistack.contract.limits import Characters, OneOf, Range
from aistack.contract.relay_request import json_object
from aistack.errors import BackendFault, Code, body_not_object, malformed

FORMATS: Mapping[str, str] = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
"""OpenAI's six formats and their content types; 24 kHz, mono, and 16 bits where samples are plain."""

INPUT_CHARS = 4096
"""OpenAI's limit; it also bounds the size of a response (about five minutes of speech)."""

SPEED_MIN, SPEED_MAX = 0.25, 4.0

EMBEDDED_ID = "espeak-ng"
"""The id of the embedded voice in /v1/models."""

OPENAI_SPEECH_MODELS = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
"""Ids that clients are hard-wired to: the container answers them, and the embedded voice while the
container is down."""

OPENAI_VOICES: Mapping[str, str] = {
    "alloy": "f2",
    "ash": "m3",
    "ballad": "Gene",
    "cedar": "m7",
    "coral": "f3",
    "echo": "m1",
    "fable": "m2",
    "marin": "f5",
    "nova": "f4",
    "onyx": "m8",
    "sage": "f1",
    "shimmer": "Alicia",
    "verse": "m4",
}
"""OpenAI's voices. For the embedded voice, each is its own variant of the voice of any language."""

DEFAULT_VOICE = "alloy"
DEFAULT_LANGUAGE = "en-us"

LANGUAGES: Mapping[str, str] = {
    "english": "en-us",
    "chinese": "cmn",
    "japanese": "ja",
    "korean": "ko",
    "german": "de",
    "french": "fr",
    "russian": "ru",
    "portuguese": "pt",
    "spanish": "es",
    "italian": "it",
    "en": "en-us",
    "zh": "cmn",
}
"""Names that the container's clients use, and subtags that the library names differently."""


def embedded_answers(model: str, container_up: bool) -> bool:
    """Whether the embedded voice, if installed, serves this model."""
    return model == EMBEDDED_ID or (model in OPENAI_SPEECH_MODELS and not container_up)


@frozen(kw_only=True)
class _SpeechBody:
    """The members of OpenAI's speech body that have limits."""

    input: Annotated[str, Characters(1, INPUT_CHARS)]
    speed: Annotated[float, Range(SPEED_MIN, SPEED_MAX)] = 1.0
    response_format: Annotated[str, OneOf(tuple(FORMATS))] = "mp3"


def speak_request(body: bytes) -> SynthesisRequest:
    """The request in an OpenAI speech body; null means absent, unknown members are ignored.

    Raises BackendFault (400).
    """
    sent = json_object(body)
    if sent is None:
        raise BackendFault(body_not_object())
    given = {name: value for name, value in sent.items() if value is not None}
    asked = structure(given, _SpeechBody, tolerant=True)
    if not asked.input.strip():
        raise _invalid("input", "not be blank")
    return SynthesisRequest(
        text=asked.input,
        voice=_voice(given.get("voice")),
        speed=asked.speed,
        format=asked.response_format,
        language=_language(given.get("language")),
    )


def _invalid(name: str, must: str) -> BackendFault:
    return BackendFault(malformed(f"The field '{name}' must {must}.", Code.INVALID_FIELD, name))


def _voice(value: object) -> str:
    """A name, or OpenAI's object with the name as its id."""
    if isinstance(value, dict):
        value = value.get("id")
    if value is None:
        return DEFAULT_VOICE
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise _invalid("voice", "be the name of a voice")
    return value.strip()


def _language(value: object) -> str | None:
    """A language subtag; None, the default, for "Auto" and for anything that is not a text."""
    if not isinstance(value, str) or not value.strip() or value.strip().lower() == "auto":
        return None
    name = value.strip().lower().replace("_", "-")
    return LANGUAGES.get(name, name)
