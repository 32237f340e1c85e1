"""Every type a consumer can see: requests, answers, stream events. Pure.

Docstrings and the `Doc` of each field are the descriptions in the reference, written for those who call
the service; limits and other marks are those of `contract.limits` and `contract.fields`. A `CLOSED` type
never gets more fields, an `OPEN` one may hold members of other servers. Times are seconds from the start
of the audio.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_doc import Doc
from attrs import frozen

from aistack.contract.fields import KEEP_NULL, IgnoredWith
from aistack.contract.limits import Bytes, OneOf, Range
from aistack.errors import Code

Capability = Literal["asr", "tts", "llm"]
ResponseFormat = Literal["json", "text", "verbose_json", "srt", "vtt"]
Granularity = Literal["word", "segment"]
Task = Literal["transcribe", "translate"]

# --- service and inventory ---------------------------------------------------------------------------


@frozen(kw_only=True)
class HealthResponse:
    """The service is running; this says nothing about any backend."""

    status: Annotated[Literal["ok"], Doc("Always 'ok'.")] = "ok"
    version: Annotated[str, Doc("Version of the aistack package (PEP 440).")]
    ready: Annotated[
        bool, Doc("Whether weights for /generate are selected and have not failed to load.")
    ]
    current_model: Annotated[
        str | None, Doc("Tag of the weights that /generate uses; null before the first load."), KEEP_NULL
    ] = None


@frozen(kw_only=True)
class Download:
    """Progress of the first download of a model's weights."""

    bytes: Annotated[int, Doc("Bytes downloaded so far.")]
    total: Annotated[int | None, Doc("Bytes in total; absent while unknown.")] = None


@frozen(kw_only=True)
class ModelEntry:
    """A model that can be requested right now, or the routing alias."""

    id: Annotated[str, Doc("Pass it as `model` to the endpoint of its capability.")]
    object: Annotated[Literal["model"], Doc("Always 'model'.")] = "model"
    created: Annotated[int, Doc("Creation time of the model: Unix time, in seconds.")]
    owned_by: Annotated[str, Doc("Author of the model. For display; do not branch on it.")]
    capabilities: Annotated[tuple[Capability, ...], Doc("What the model can do.")]
    supports_streaming: Annotated[bool, Doc("Whether stream=true returns the result incrementally.")]
    is_routing_alias: Annotated[
        bool, Doc("Whether the id is resolved to a real model for each request.")
    ] = False
    languages: Annotated[
        tuple[str, ...] | None,
        Doc("ISO 639 codes that a speech-to-text model understands; absent for other models."),
    ] = None
    loaded: Annotated[bool | None, Doc("Whether the model is in memory now; absent if unknown.")] = None
    max_seconds: Annotated[
        float | None, Doc("Longest audio accepted, in seconds; absent if unlimited.")
    ] = None
    word_timestamps: Annotated[bool | None, Doc("Whether transcripts have word timestamps.")] = None
    translate: Annotated[bool | None, Doc("Whether the model can translate speech into English.")] = None
    download: Annotated[
        Download | None, Doc("Present while the model's weights are being downloaded.")
    ] = None


@frozen(kw_only=True)
class ModelsList:
    """All models that can be requested right now."""

    object: Annotated[Literal["list"], Doc("Always 'list'.")] = "list"
    data: Annotated[tuple[ModelEntry, ...], Doc("'auto' first, then ASR, TTS and LLM models.")]


# --- transcription: request --------------------------------------------------------------------------


@frozen
class FilePart:
    """A file part, as it is stored in the spool folder (a consumer sends its bytes).

    `path` is on this machine and is never shown; `name` is the client's name for it; `size` is in bytes.
    """

    path: str
    name: str = ""
    size: int = 0


@frozen(kw_only=True)
class TranscriptionForm:
    """The form of a transcription. Booleans, numbers and lists are sent as text; unknown fields are
    ignored; an empty value counts as absent. A list is a repeated field (`name` or `name[]`), words
    joined by commas, or a JSON list."""

    file: Annotated[
        FilePart,
        Doc("The audio, in any format that FFmpeg reads. Name and type of the part do not matter."),
        Bytes(1),
    ]
    model: Annotated[
        str, Doc("An id from /v1/models, a Whisper size, parakeet, sensevoice, or auto.")
    ] = "auto"
    language: Annotated[
        str | None, Doc("Language hint, ISO 639-1 (a region is cut off). It also steers auto.")
    ] = None
    response_format: Annotated[
        ResponseFormat, Doc("Format of the response; ignored with stream=true."), IgnoredWith("stream")
    ] = "json"
    stream: Annotated[bool, Doc("Respond with server-sent events, one per segment.")] = False
    translate: Annotated[bool, Doc("Translate into English (Whisper models only).")] = False
    timestamp_granularities: Annotated[
        tuple[Granularity, ...] | None,
        Doc("A list without 'word' leaves the words out of verbose_json."),
    ] = None
    prompt: Annotated[
        str | None,
        Doc("Text that sets the style, for models that support prompts."),
    ] = None
    temperature: Annotated[float | None, Doc("Sampling temperature."), Range(0.0, 1.0)] = None
    hotwords: Annotated[str | None, Doc("Words to listen for, for models that support hotwords.")] = None
    chunking_strategy: Annotated[
        str | None,
        Doc(
            "'auto' allows a model's batched mode if the response is not streamed; other values "
            "are ignored."
        ),
    ] = None
    segment_granularity: Annotated[
        Literal["sentence", "subtitle"], Doc("Parakeet: cut segments at sentences, or for subtitles.")
    ] = "sentence"
    task_type: Annotated[str | None, Doc("Accepted and ignored.")] = None


# --- transcription: response -------------------------------------------------------------------------


@frozen(kw_only=True)
class TranscriptionJson:
    """response_format=json: the text and nothing else."""

    CLOSED: ClassVar[bool] = True
    text: Annotated[str, Doc("The whole transcript.")]


@frozen(kw_only=True)
class TranscriptionWord:
    """One word with its times."""

    start: Annotated[float, Doc("Start, in seconds.")]
    end: Annotated[float, Doc("End, in seconds.")]
    word: Annotated[str, Doc("The word, without surrounding spaces.")]


@frozen(kw_only=True)
class TranscriptionSegment:
    """A segment of the transcript. All of OpenAI's fields are always present; where the model has no
    value, a field has its neutral default."""

    id: Annotated[int, Doc("Position in the list, from 0.")]
    seek: Annotated[int, Doc("Position of the decoder's window, in frames.")]
    start: Annotated[float, Doc("Start, in seconds.")]
    end: Annotated[float, Doc("End, in seconds.")]
    text: Annotated[str, Doc("The text, without surrounding spaces.")]
    tokens: Annotated[tuple[int, ...], Doc("Token ids, if the model reports them.")]
    temperature: Annotated[float, Doc("Temperature used.")]
    avg_logprob: Annotated[float, Doc("Mean log probability of the tokens.")]
    compression_ratio: Annotated[float, Doc("A value above 2.4 suggests that the text repeats itself.")]
    no_speech_prob: Annotated[float, Doc("Probability that there is no speech.")]
    emotion: Annotated[str | None, Doc("Emotion detected (SenseVoice).")] = None
    events: Annotated[
        tuple[str, ...] | None, Doc("Sounds detected, such as laughter or music (SenseVoice).")
    ] = None


@frozen(kw_only=True)
class TranscriptionUsage:
    """What is counted: the length of the audio."""

    type: Annotated[Literal["duration"], Doc("Always 'duration'.")] = "duration"
    seconds: Annotated[int, Doc("Length of the audio in seconds, rounded up.")]


@frozen(kw_only=True)
class TranscriptionVerbose:
    """response_format=verbose_json: the text with its segments and words."""

    task: Annotated[Task, Doc("What was done.")]
    language: Annotated[
        str, Doc("Detected language, otherwise the hint, otherwise 'und'; an ISO 639-1 code.")
    ]
    duration: Annotated[float, Doc("Length of the audio, in seconds.")]
    text: Annotated[str, Doc("The whole transcript.")]
    segments: Annotated[tuple[TranscriptionSegment, ...], Doc("In chronological order.")]
    words: Annotated[
        tuple[TranscriptionWord, ...] | None,
        Doc("In chronological order; absent if the model has none or the request left them out."),
    ] = None
    usage: Annotated[TranscriptionUsage, Doc("What is counted.")]


# --- transcription: streamed -------------------------------------------------------------------------


@frozen(kw_only=True)
class DeltaSegment:
    """The segment behind a delta."""

    start: Annotated[float, Doc("Start, in seconds.")]
    end: Annotated[float, Doc("End, in seconds.")]
    text: Annotated[str, Doc("The text, without surrounding spaces.")]
    words: Annotated[tuple[TranscriptionWord, ...], Doc("Empty if the model has none.")]
    emotion: Annotated[str | None, Doc("Emotion detected (SenseVoice).")] = None
    events: Annotated[
        tuple[str, ...] | None, Doc("Sounds detected, such as laughter or music (SenseVoice).")
    ] = None


@frozen(kw_only=True)
class DeltaEvent:
    """One segment, sent as soon as it is ready."""

    type: Annotated[
        Literal["transcript.text.delta"],
        Doc("Type of the event."),
    ] = "transcript.text.delta"
    delta: Annotated[
        str, Doc("The text, preceded by its separator; all deltas joined are the transcript.")
    ]
    segment: Annotated[DeltaSegment, Doc("Times, words, and the text without its separator.")]


@frozen(kw_only=True)
class DoneEvent:
    """The end of a transcription; the last event."""

    type: Annotated[Literal["transcript.text.done"], Doc("Type of the event.")] = "transcript.text.done"
    text: Annotated[str, Doc("The whole transcript.")]
    language: Annotated[
        str, Doc("Detected language, otherwise the hint, otherwise 'und'; an ISO 639-1 code.")
    ]
    duration: Annotated[float, Doc("Length of the audio, in seconds.")]


@frozen(kw_only=True)
class WarningEvent:
    """Sent first if the model cannot stream; the transcript then arrives as one delta."""

    type: Annotated[Literal["warning"], Doc("Type of the event.")] = "warning"
    code: Annotated[str, Doc("Always 'streaming_not_supported'.")]
    model: Annotated[str, Doc("Id of the chosen model.")]
    message: Annotated[str, Doc("A sentence to show to users.")]
    delta: Annotated[Literal[""], Doc("Always empty; for clients that concatenate every event.")] = ""
    text: Annotated[Literal[""], Doc("Always empty; for clients that concatenate every event.")] = ""


# --- errors ------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Holder:
    """The job that holds the GPU, in a busy response."""

    op: Annotated[str, Doc("What the job does: transcribe, speak, chat, generate, ...")]
    model: Annotated[str, Doc("The model that it uses.")]
    since_s: Annotated[float, Doc("How long it has held the GPU, in seconds.")]
    progress: Annotated[float | None, Doc("Its progress, 0 to 1.")] = None
    eta_s: Annotated[float | None, Doc("Estimated time left, in seconds.")] = None


KindWord = Literal["network", "malformed", "overflow", "cancelled", "unknown"]


@frozen(kw_only=True)
class ErrorBody:
    """What went wrong. Branch on `kind`. Members from an upstream server may stand beside these."""

    OPEN: ClassVar[bool] = True
    kind: Annotated[KindWord, Doc("One of five kinds; each has its own HTTP statuses.")]
    provider: Annotated[str, Doc("What failed: aistack, or a backend.")]
    message: Annotated[str, Doc("A sentence that is safe to show to users.")]
    type: Annotated[
        Literal["invalid_request_error", "server_error"],
        Doc("OpenAI's type: whether the request or the server is at fault."),
    ]
    code: Annotated[
        str, Doc("Machine-readable code within the kind."), OneOf(tuple(code.value for code in Code))
    ]
    param: Annotated[str | None, Doc("The field at fault, or null."), KEEP_NULL] = None
    holder: Annotated[Holder | None, Doc("The job that holds the slot, if it is busy.")] = None


@frozen(kw_only=True)
class ErrorEnvelope:
    """The body of every response that is not 2xx."""

    error: Annotated[ErrorBody, Doc("What went wrong.")]


@frozen(kw_only=True)
class ErrorEvent:
    """A failure after the stream started; the last event, so no done event follows."""

    type: Annotated[Literal["error"], Doc("Type of the event.")] = "error"
    kind: Annotated[KindWord, Doc("As in `error`.")]
    provider: Annotated[str, Doc("As in `error`.")]
    message: Annotated[str, Doc("As in `error`.")]
    error: Annotated[ErrorBody, Doc("The same object as in the error envelope.")]
    delta: Annotated[Literal[""], Doc("Always empty; for clients that concatenate every event.")] = ""
    text: Annotated[Literal[""], Doc("Always empty; for clients that concatenate every event.")] = ""


StreamEvent = DeltaEvent | DoneEvent | WarningEvent | ErrorEvent
"""One `data:` line of a streamed transcription."""

# --- internal inference API --------------------------------------------------------------------------


@frozen(kw_only=True)
class SwapAccepted:
    """The 202 response to a change of weights, sent before the change is complete."""

    status: Annotated[Literal["accepted", "ok"], Doc("'ok' if that tag is already the current one.")]
    current_model: Annotated[str, Doc("Tag that /generate uses now.")]
