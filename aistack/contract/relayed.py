"""What is relayed to and from upstream servers, as far as the reference can describe it. Pure.

Requests and responses are passed on unchanged: every type here is `OPEN`, members that it does not name
are passed on as well, and the upstream server judges their values. The embedded voice and local weights
answer in the same shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from annotated_doc import Doc
from attrs import frozen

from aistack.contract.fields import KEEP_NULL
from aistack.contract.limits import Items
from aistack.contract.public import ErrorBody

# --- chat --------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class ChatRequest:
    """OpenAI's chat request. All other members are passed on unchanged."""

    OPEN: ClassVar[bool] = True
    model: Annotated[str, Doc("An llm id from /v1/models.")]
    messages: Annotated[
        tuple[Mapping[str, Any], ...], Doc("OpenAI's messages: role and content."), Items(1)
    ]
    stream: Annotated[bool | None, Doc("Respond with server-sent events, ended by [DONE].")] = None
    keep_alive: Annotated[
        str | float | None, Doc("Ollama's option: how long the model stays loaded; '30s' if absent.")
    ] = None


@frozen(kw_only=True)
class ChatChoice:
    """One alternative."""

    OPEN: ClassVar[bool] = True
    index: Annotated[int, Doc("Number of the alternative.")]
    message: Annotated[Mapping[str, Any], Doc("OpenAI's message: role and content.")]
    finish_reason: Annotated[str | None, Doc("stop, length, ..."), KEEP_NULL]


@frozen(kw_only=True)
class ChatAnswer:
    """OpenAI's chat completion, as the upstream server made it."""

    OPEN: ClassVar[bool] = True
    id: Annotated[str, Doc("Not unique on every server.")]
    object: Annotated[Literal["chat.completion"], Doc("Always 'chat.completion'.")]
    created: Annotated[int, Doc("Unix time, in seconds.")]
    model: Annotated[str, Doc("Id of the model.")]
    choices: Annotated[tuple[ChatChoice, ...], Doc("The alternatives, usually one.")]
    usage: Annotated[Mapping[str, Any] | None, Doc("Token counts.")] = None


@frozen(kw_only=True)
class ChunkChoice:
    """The new part of one alternative."""

    OPEN: ClassVar[bool] = True
    index: Annotated[int, Doc("Number of the alternative.")]
    delta: Annotated[Mapping[str, Any], Doc("The new part of the message.")]
    finish_reason: Annotated[str | None, Doc("Set in the last chunk."), KEEP_NULL] = None


@frozen(kw_only=True)
class ChatChunk:
    """One event of a streamed chat completion."""

    OPEN: ClassVar[bool] = True
    object: Annotated[Literal["chat.completion.chunk"], Doc("Always 'chat.completion.chunk'.")]
    model: Annotated[str, Doc("Id of the model.")]
    choices: Annotated[tuple[ChunkChoice, ...], Doc("Empty in a final chunk with usage.")]


@frozen(kw_only=True)
class ChatFailed:
    """A failure after the stream started; the connection is then cut, and no [DONE] follows."""

    error: Annotated[ErrorBody, Doc("What went wrong.")]


ChatEvent = ChatChunk | ChatFailed
"""One `data:` line of a streamed chat, but for the last, which is [DONE]."""

# --- speech ------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class SpeechRequest:
    """OpenAI's speech request; members for voice cloning and voice design are passed on too."""

    OPEN: ClassVar[bool] = True
    input: Annotated[str, Doc("The text to speak.")]
    model: Annotated[str | None, Doc("A tts id from /v1/models.")] = None
    voice: Annotated[
        str | Mapping[str, Any] | None, Doc("A name from /v1/audio/voices, or one of OpenAI's voices.")
    ] = None
    response_format: Annotated[
        str | None, Doc("wav, mp3, opus, flac, pcm, aac; which formats work depends on the server.")
    ] = None
    speed: Annotated[float | None, Doc("Speed of speech, 0.25 to 4.")] = None
    stream: Annotated[bool | None, Doc("Send audio while it is being made (pcm and wav).")] = None
    instructions: Annotated[str | None, Doc("How to speak.")] = None
    language: Annotated[str | None, Doc("Name of a language, or Auto.")] = None
    task_type: Annotated[str | None, Doc("CustomVoice, VoiceDesign or Base (cloning).")] = None
    ref_audio: Annotated[
        str | None, Doc("Cloning: a URL, a data URL, or a file that the server may read.")
    ] = None
    ref_text: Annotated[str | None, Doc("Cloning: what is said in ref_audio.")] = None


@frozen(kw_only=True)
class SpeechEvent:
    """One event of streamed speech, as the upstream server made it."""

    OPEN: ClassVar[bool] = True
    type: Annotated[str, Doc("speech.audio.delta, speech.audio.done or speech.audio.error.")]


@frozen(kw_only=True)
class VoicesList:
    """The voices of the speech server."""

    OPEN: ClassVar[bool] = True
    voices: Annotated[tuple[str, ...], Doc("Names for `voice`.")]
    uploaded_voices: Annotated[
        tuple[Mapping[str, Any], ...] | None,
        Doc("Uploaded voices, with what is known about them."),
    ] = None
