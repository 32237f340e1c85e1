"""A speech request for an engine of ours: OpenAI's body, read strictly; formats, voices, languages.

Pure. The relay to a container never comes here: its bodies are the container's to judge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from aistack.chunks import SynthesisRequest
from aistack.contract.relay_request import json_object
from aistack.errors import BackendFault, Code, malformed

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
"""OpenAI's limit, and what bounds the size of an answer (about five minutes of speech)."""

SPEED_MIN, SPEED_MAX = 0.25, 4.0

EMBEDDED_ID = "espeak-ng"
"""The id of the embedded voice in /v1/models."""

OPENAI_SPEECH_MODELS = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
"""Ids that clients are hard-wired to: the container answers them, and while it is down the embedded
voice does."""

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
"""OpenAI's thirteen built-in voices, one of which clients send unasked. For the embedded voice each is a
variant of its own of whatever language is spoken."""

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
"""Names that the container's clients use, and subtags the library calls otherwise."""


def embedded_answers(model: str, container_up: bool) -> bool:
    """Whether the embedded voice (where installed) is the one to answer for this model."""
    return model == EMBEDDED_ID or (model in OPENAI_SPEECH_MODELS and not container_up)


def speak_request(body: bytes) -> SynthesisRequest:
    """The request in an OpenAI speech body. Raises BackendFault (400); unknown fields are ignored."""
    asked = json_object(body)
    if asked is None:
        raise BackendFault(malformed("The body must be a JSON object.", Code.INVALID_BODY))
    text = asked.get("input")
    if text is None:
        raise BackendFault(malformed("The field input is missing.", Code.MISSING_FIELD, "input"))
    if not isinstance(text, str) or not text.strip():
        raise _invalid("input", "must be a text that is not empty")
    if len(text) > INPUT_CHARS:
        raise _invalid("input", f"must not be longer than {INPUT_CHARS} characters")
    return SynthesisRequest(
        text=text,
        voice=_voice(asked.get("voice")),
        speed=_speed(asked.get("speed")),
        format=_format(asked.get("response_format")),
        language=_language(asked.get("language")),
    )


def _invalid(name: str, must: str) -> BackendFault:
    return BackendFault(malformed(f"The field {name} {must}.", Code.INVALID_FIELD, name))


def _voice(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("id")
    if value is None:
        return DEFAULT_VOICE
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise _invalid("voice", "must be a voice's name")
    return value.strip()


def _speed(value: Any) -> float:
    if value is None:
        return 1.0
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not SPEED_MIN <= value <= SPEED_MAX:
        raise _invalid("speed", f"must be a number from {SPEED_MIN} to {SPEED_MAX}")
    return float(value)


def _format(value: Any) -> str:
    if value is None:
        return "mp3"
    if not isinstance(value, str) or value not in FORMATS:
        raise _invalid("response_format", f"must be one of {', '.join(FORMATS)}")
    return str(value)


def _language(value: Any) -> str | None:
    """A subtag; "Auto" and anything that is no text mean the default."""
    if not isinstance(value, str) or not value.strip() or value.strip().lower() == "auto":
        return None
    name = value.strip().lower().replace("_", "-")
    return LANGUAGES.get(name, name)
