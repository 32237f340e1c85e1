"""Every type a consumer can see: requests, answers, stream events. Pure.

Docstrings and the `says` of each field are the reference's descriptions, so they are written for
whoever calls the service. Other metadata: `keep_null` (sent as null instead of left out), `min` with
`max` (limits of a number), `min_length` with `max_length` (of a text, a list or a file), `pattern`,
`one_of` (the closed list of a word), `ignored_with` (a switch that makes the field meaningless, even an
invalid one). A `CLOSED` type never gets more fields, an `OPEN` one may hold members of others. Times are
seconds from the start of the audio.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from attrs import field, frozen

from aistack.errors import Code

Capability = Literal["asr", "tts", "llm"]
ResponseFormat = Literal["json", "text", "verbose_json", "srt", "vtt"]
Granularity = Literal["word", "segment"]
Task = Literal["transcribe", "translate"]

# --- service and inventory ---------------------------------------------------------------------------


@frozen(kw_only=True)
class HealthResponse:
    """The service answers; says nothing about any backend."""

    status: Literal["ok"] = field(default="ok", metadata={"says": "Always 'ok' when this answers."})
    version: str = field(metadata={"says": "Version of the aistack package (PEP 440)."})
    ready: bool = field(
        metadata={"says": "Weights for /generate are selected and did not fail to load."}
    )
    current_model: str | None = field(
        default=None,
        metadata={
            "says": "Tag of the weights /generate uses; null until one was loaded.",
            "keep_null": True,
        },
    )


@frozen(kw_only=True)
class Download:
    """How far the first download of a model's weights is."""

    bytes: int = field(metadata={"says": "Bytes that have arrived."})
    total: int | None = field(
        default=None, metadata={"says": "Bytes there will be; absent while not known."}
    )


@frozen(kw_only=True)
class ModelEntry:
    """One model that can be asked for right now, or the routing alias."""

    id: str = field(metadata={"says": "Pass it as `model` on the endpoint of its capability."})
    object: Literal["model"] = field(default="model", metadata={"says": "Always 'model'."})
    created: int = field(metadata={"says": "Unix time of the model, in seconds."})
    owned_by: str = field(metadata={"says": "The model's author. For display; do not branch on it."})
    capabilities: tuple[Capability, ...] = field(metadata={"says": "What the model does."})
    supports_streaming: bool = field(
        metadata={"says": "Whether stream=true brings the result in real increments."}
    )
    is_routing_alias: bool = field(
        default=False, metadata={"says": "Whether this id is resolved to a real model per request."}
    )
    languages: tuple[str, ...] | None = field(
        default=None,
        metadata={"says": "ISO 639 codes a speech-to-text model understands; absent elsewhere."},
    )
    loaded: bool | None = field(
        default=None, metadata={"says": "Whether the model is in memory now; absent where not ours."}
    )
    max_seconds: float | None = field(
        default=None, metadata={"says": "Longest audio accepted, in seconds; absent if unlimited."}
    )
    word_timestamps: bool | None = field(
        default=None, metadata={"says": "Whether transcripts carry the times of words."}
    )
    translate: bool | None = field(
        default=None, metadata={"says": "Whether speech can be translated to English."}
    )
    download: Download | None = field(
        default=None, metadata={"says": "Present while the model's weights are being downloaded."}
    )


@frozen(kw_only=True)
class ModelsList:
    """All models that can be asked for right now."""

    object: Literal["list"] = field(default="list", metadata={"says": "Always 'list'."})
    data: tuple[ModelEntry, ...] = field(
        metadata={"says": "'auto' first, then ASR, TTS and LLM models."}
    )


# --- transcription: asked ----------------------------------------------------------------------------


@frozen
class FilePart:
    """A file part, as it lies in the spool folder (a consumer sends its bytes).

    `path` is on this machine and never shown; `name` is what the client called it; `size` is bytes.
    """

    path: str
    name: str = ""
    size: int = 0


@frozen(kw_only=True)
class TranscriptionForm:
    """The form of a transcription. Booleans, numbers and lists arrive as text; unknown fields are
    ignored; an empty value counts as absent. Lists may be repeated (`name` or `name[]`), joined by
    commas, or a JSON list."""

    file: FilePart = field(
        metadata={
            "says": "The audio: anything FFmpeg reads. Name and type of the part do not matter.",
            "min_length": 1,
        }
    )
    model: str = field(
        default="auto",
        metadata={"says": "An id from /v1/models, a Whisper size, parakeet, sensevoice, or auto."},
    )
    language: str | None = field(
        default=None,
        metadata={"says": "Hint, ISO 639-1 (a region is cut off). It also steers auto."},
    )
    response_format: ResponseFormat = field(
        default="json",
        metadata={"says": "Shape of the answer; ignored with stream=true.", "ignored_with": "stream"},
    )
    stream: bool = field(
        default=False, metadata={"says": "Answer with server-sent events, one per segment."}
    )
    translate: bool = field(
        default=False, metadata={"says": "Translate to English (Whisper models only)."}
    )
    timestamp_granularities: tuple[Granularity, ...] | None = field(
        default=None,
        metadata={"says": "A list without 'word' leaves the words out of verbose_json."},
    )
    prompt: str | None = field(
        default=None, metadata={"says": "Text to set the style, for models that know prompts."}
    )
    temperature: float | None = field(
        default=None, metadata={"says": "Sampling temperature.", "min": 0.0, "max": 1.0}
    )
    hotwords: str | None = field(
        default=None, metadata={"says": "Words to listen for, for models that know them."}
    )
    chunking_strategy: str | None = field(
        default=None,
        metadata={"says": "'auto' allows a model's batched mode for whole answers; others: ignored."},
    )
    segment_granularity: Literal["sentence", "subtitle"] = field(
        default="sentence",
        metadata={"says": "Parakeet: cut segments at sentences, or for subtitles."},
    )
    task_type: str | None = field(default=None, metadata={"says": "Accepted and ignored."})


# --- transcription: answered -------------------------------------------------------------------------


@frozen(kw_only=True)
class TranscriptionJson:
    """response_format=json: the text and nothing else."""

    CLOSED: ClassVar[bool] = True
    text: str = field(metadata={"says": "The whole transcript."})


@frozen(kw_only=True)
class TranscriptionWord:
    """One word with its times."""

    start: float = field(metadata={"says": "Start, in seconds."})
    end: float = field(metadata={"says": "End, in seconds."})
    word: str = field(metadata={"says": "The word, without blanks around it."})


@frozen(kw_only=True)
class TranscriptionSegment:
    """A stretch of transcript. All of OpenAI's fields are always there; a model that has no value
    for one sends the neutral default."""

    id: int = field(metadata={"says": "Position in the list, from 0."})
    seek: int = field(metadata={"says": "Position of the decoder's window, in frames."})
    start: float = field(metadata={"says": "Start, in seconds."})
    end: float = field(metadata={"says": "End, in seconds."})
    text: str = field(metadata={"says": "The text, without blanks around it."})
    tokens: tuple[int, ...] = field(metadata={"says": "Token ids of the model, if it tells them."})
    temperature: float = field(metadata={"says": "Temperature that was used."})
    avg_logprob: float = field(metadata={"says": "Mean log probability of the tokens."})
    compression_ratio: float = field(metadata={"says": "Above 2.4 hints at text in a loop."})
    no_speech_prob: float = field(metadata={"says": "Probability that nobody speaks."})
    emotion: str | None = field(default=None, metadata={"says": "Emotion heard (SenseVoice)."})
    events: tuple[str, ...] | None = field(
        default=None, metadata={"says": "Sounds heard, such as laughter or music (SenseVoice)."}
    )


@frozen(kw_only=True)
class TranscriptionUsage:
    """What is counted: audio time."""

    type: Literal["duration"] = field(default="duration", metadata={"says": "Always 'duration'."})
    seconds: int = field(metadata={"says": "Length of the audio, rounded up."})


@frozen(kw_only=True)
class TranscriptionVerbose:
    """response_format=verbose_json."""

    task: Task = field(metadata={"says": "What was done."})
    language: str = field(
        metadata={"says": "Language detected, else the hint, else 'und'; an ISO 639-1 code."}
    )
    duration: float = field(metadata={"says": "Length of the audio, in seconds."})
    text: str = field(metadata={"says": "The whole transcript."})
    segments: tuple[TranscriptionSegment, ...] = field(metadata={"says": "In order of time."})
    words: tuple[TranscriptionWord, ...] | None = field(
        default=None,
        metadata={"says": "In order of time; absent if the model has none or they were not wanted."},
    )
    usage: TranscriptionUsage = field(metadata={"says": "What is counted."})


# --- transcription: streamed -------------------------------------------------------------------------


@frozen(kw_only=True)
class DeltaSegment:
    """The segment behind a delta."""

    start: float = field(metadata={"says": "Start, in seconds."})
    end: float = field(metadata={"says": "End, in seconds."})
    text: str = field(metadata={"says": "The text, without blanks around it."})
    words: tuple[TranscriptionWord, ...] = field(metadata={"says": "Empty if the model has none."})
    emotion: str | None = field(default=None, metadata={"says": "Emotion heard (SenseVoice)."})
    events: tuple[str, ...] | None = field(
        default=None, metadata={"says": "Sounds heard, such as laughter or music (SenseVoice)."}
    )


@frozen(kw_only=True)
class DeltaEvent:
    """One segment, as soon as it is known."""

    type: Literal["transcript.text.delta"] = field(
        default="transcript.text.delta", metadata={"says": "Which event this is."}
    )
    delta: str = field(
        metadata={"says": "The text with its separator before it: all deltas joined are the transcript."}
    )
    segment: DeltaSegment = field(metadata={"says": "Times, words and the text alone."})


@frozen(kw_only=True)
class DoneEvent:
    """The end of a transcription; the last event."""

    type: Literal["transcript.text.done"] = field(
        default="transcript.text.done", metadata={"says": "Which event this is."}
    )
    text: str = field(metadata={"says": "The whole transcript."})
    language: str = field(
        metadata={"says": "Language detected, else the hint, else 'und'; an ISO 639-1 code."}
    )
    duration: float = field(metadata={"says": "Length of the audio, in seconds."})


@frozen(kw_only=True)
class WarningEvent:
    """Comes first, when the model cannot stream: the transcript then comes as one delta."""

    type: Literal["warning"] = field(default="warning", metadata={"says": "Which event this is."})
    code: str = field(metadata={"says": "'streaming_not_supported'."})
    model: str = field(metadata={"says": "Id of the model that was chosen."})
    message: str = field(metadata={"says": "A sentence for people."})
    delta: Literal[""] = field(
        default="", metadata={"says": "Empty; for clients that join every event."}
    )
    text: Literal[""] = field(default="", metadata={"says": "Empty; for clients that join every event."})


# --- errors ------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Holder:
    """Who holds the GPU, in a busy answer."""

    op: str = field(metadata={"says": "What it is doing: transcribe, speak, chat, generate, ..."})
    model: str = field(metadata={"says": "With which model."})
    since_s: float = field(metadata={"says": "For how long, in seconds."})
    progress: float | None = field(default=None, metadata={"says": "How far it is, 0 to 1."})
    eta_s: float | None = field(default=None, metadata={"says": "Estimated time left, in seconds."})


Kind = Literal["network", "malformed", "overflow", "cancelled", "unknown"]


@frozen(kw_only=True)
class ErrorBody:
    """What went wrong. Branch on `kind`. An upstream's own members may stand beside these."""

    OPEN: ClassVar[bool] = True
    kind: Kind = field(metadata={"says": "One of five kinds; each comes with its own statuses."})
    provider: str = field(metadata={"says": "Who failed: aistack, or a backend."})
    message: str = field(metadata={"says": "A sentence that is safe to show to people."})
    type: Literal["invalid_request_error", "server_error"] = field(
        metadata={"says": "OpenAI's type: whose fault it is."}
    )
    code: str = field(
        metadata={"says": "The fine machine word.", "one_of": tuple(code.value for code in Code)}
    )
    param: str | None = field(
        default=None, metadata={"says": "The field that is wrong, or null.", "keep_null": True}
    )
    holder: Holder | None = field(default=None, metadata={"says": "Who holds the slot, when busy."})


@frozen(kw_only=True)
class ErrorEnvelope:
    """The body of every answer that is not 2xx."""

    error: ErrorBody = field(metadata={"says": "What went wrong."})


@frozen(kw_only=True)
class ErrorEvent:
    """A failure after the stream began; the last event, and no done comes."""

    type: Literal["error"] = field(default="error", metadata={"says": "Which event this is."})
    kind: Kind = field(metadata={"says": "As in `error`."})
    provider: str = field(metadata={"says": "As in `error`."})
    message: str = field(metadata={"says": "As in `error`."})
    error: ErrorBody = field(metadata={"says": "The same object as in the envelope."})
    delta: Literal[""] = field(
        default="", metadata={"says": "Empty; for clients that join every event."}
    )
    text: Literal[""] = field(default="", metadata={"says": "Empty; for clients that join every event."})


StreamEvent = DeltaEvent | DoneEvent | WarningEvent | ErrorEvent
"""One `data:` line of a streamed transcription."""

# --- internal inference API --------------------------------------------------------------------------


@frozen(kw_only=True)
class SwapAccepted:
    """The 202 of a change of weights, sent before it is done."""

    status: Literal["accepted", "ok"] = field(
        metadata={"says": "'ok' when that tag is already the current one."}
    )
    current_model: str = field(metadata={"says": "Tag that /generate uses now."})
