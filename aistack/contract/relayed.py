"""What is relayed to and from other people's servers, as far as the reference can tell it. Pure.

Requests go on as they come and answers come back as they are: every type here is `OPEN`, members that
it does not name are passed on all the same, and their values are judged by the server behind. An
embedded voice and local weights answer in the same shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from attrs import field, frozen

from aistack.contract.public import ErrorBody

# --- chat --------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class ChatRequest:
    """OpenAI's chat request. Every other member is passed on unchanged."""

    OPEN: ClassVar[bool] = True
    model: str = field(metadata={"says": "An llm id from /v1/models."})
    messages: tuple[Mapping[str, Any], ...] = field(
        metadata={"says": "OpenAI's messages: role and content.", "min_length": 1}
    )
    stream: bool | None = field(
        default=None, metadata={"says": "Answer with server-sent events, ended by [DONE]."}
    )
    keep_alive: str | float | None = field(
        default=None,
        metadata={"says": "Ollama's: how long the model stays loaded; '30s' when absent."},
    )


@frozen(kw_only=True)
class ChatChoice:
    """One alternative."""

    OPEN: ClassVar[bool] = True
    index: int = field(metadata={"says": "Its number."})
    message: Mapping[str, Any] = field(metadata={"says": "OpenAI's message: role and content."})
    finish_reason: str | None = field(metadata={"says": "stop, length, ...", "keep_null": True})


@frozen(kw_only=True)
class ChatAnswer:
    """OpenAI's chat completion, as the server behind made it."""

    OPEN: ClassVar[bool] = True
    id: str = field(metadata={"says": "Not unique with every server."})
    object: Literal["chat.completion"] = field(metadata={"says": "Always 'chat.completion'."})
    created: int = field(metadata={"says": "Unix time, in seconds."})
    model: str = field(metadata={"says": "Id of the model."})
    choices: tuple[ChatChoice, ...] = field(metadata={"says": "The alternatives, usually one."})
    usage: Mapping[str, Any] | None = field(default=None, metadata={"says": "Tokens counted."})


@frozen(kw_only=True)
class ChunkChoice:
    """What is new in one alternative."""

    OPEN: ClassVar[bool] = True
    index: int = field(metadata={"says": "Its number."})
    delta: Mapping[str, Any] = field(metadata={"says": "What is new of the message."})
    finish_reason: str | None = field(
        default=None, metadata={"says": "Set in the last chunk.", "keep_null": True}
    )


@frozen(kw_only=True)
class ChatChunk:
    """One event of a streamed chat completion."""

    OPEN: ClassVar[bool] = True
    object: Literal["chat.completion.chunk"] = field(
        metadata={"says": "Always 'chat.completion.chunk'."}
    )
    model: str = field(metadata={"says": "Id of the model."})
    choices: tuple[ChunkChoice, ...] = field(metadata={"says": "Empty in a last chunk with usage."})


@frozen(kw_only=True)
class ChatFailed:
    """A failure after the stream began; the connection is cut after it, and no [DONE] comes."""

    error: ErrorBody = field(metadata={"says": "What went wrong."})


ChatEvent = ChatChunk | ChatFailed
"""One `data:` line of a streamed chat, but for the last, which is [DONE]."""

# --- speech ------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class SpeechRequest:
    """OpenAI's speech request; the members of voice cloning and voice design are passed on too."""

    OPEN: ClassVar[bool] = True
    input: str = field(metadata={"says": "The text to speak."})
    model: str | None = field(default=None, metadata={"says": "A tts id from /v1/models."})
    voice: str | Mapping[str, Any] | None = field(
        default=None, metadata={"says": "A name from /v1/audio/voices, or one of OpenAI's."}
    )
    response_format: str | None = field(
        default=None,
        metadata={"says": "wav, mp3, opus, flac, pcm, aac; what is known depends on the server."},
    )
    speed: float | None = field(default=None, metadata={"says": "0.25 to 4."})
    stream: bool | None = field(
        default=None, metadata={"says": "Send audio as it is made (pcm and wav)."}
    )
    instructions: str | None = field(default=None, metadata={"says": "How to speak."})
    language: str | None = field(default=None, metadata={"says": "A language's name, or Auto."})
    task_type: str | None = field(
        default=None, metadata={"says": "CustomVoice, VoiceDesign or Base (cloning)."}
    )
    ref_audio: str | None = field(
        default=None, metadata={"says": "Cloning: a URL, a data URL, or a file the server may read."}
    )
    ref_text: str | None = field(default=None, metadata={"says": "Cloning: what is said in it."})


@frozen(kw_only=True)
class SpeechEvent:
    """One event of streamed speech, as the server behind made it."""

    OPEN: ClassVar[bool] = True
    type: str = field(metadata={"says": "speech.audio.delta, speech.audio.done, speech.audio.error."})


@frozen(kw_only=True)
class VoicesList:
    """The voices of the speech server."""

    OPEN: ClassVar[bool] = True
    voices: tuple[str, ...] = field(metadata={"says": "Names for `voice`."})
    uploaded_voices: tuple[Mapping[str, Any], ...] | None = field(
        default=None, metadata={"says": "Those that were added, with what is known about them."}
    )
