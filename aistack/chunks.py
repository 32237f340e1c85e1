"""What a backend is asked for and what it may yield: plain values, the same on both sides of a pipe.

Pure, and imported by engine processes of any interpreter, so it needs nothing but attrs.
Times are seconds from the start of the audio; text is without leading or trailing blanks.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import attrs
from attrs import frozen


class Vram(Enum):
    """Who holds the memory a backend works in."""

    OWN = "own"
    """We load it into a process of ours."""
    EXTERNAL = "external"
    """Someone else loads it into the same card (Ollama): ours must be gone first."""
    RESERVED = "reserved"
    """Someone else holds a fixed share (the TTS container): nothing of ours has to move."""


# --- asked -----------------------------------------------------------------------------------------


@frozen
class ModelSpec:
    """What to load: the public id, where the engine finds it, and the engine's own options.

    `source` is what the engine's library is given: a size, a hub id, or a directory. `slot` is the
    number of the slot it is loaded into.
    """

    id: str
    source: str
    device: str = "cpu"
    options: Mapping[str, Any] = attrs.field(factory=dict)
    slot: int = 0


@frozen
class TranscriptionRequest:
    """Transcribe (or translate to English) the audio file at `path`.

    `language` is a primary subtag or none; `hotwords` and `prompt` reach engines that know them;
    `batched` asks for the engine's batched pipeline where it has one; `downgrade` names the model
    in the notice of a run that was asked to stream and cannot (empty: no downgrade).
    """

    path: str
    language: str | None = None
    translate: bool = False
    prompt: str | None = None
    temperature: float | None = None
    hotwords: str | None = None
    granularity: str = "sentence"
    batched: bool = False
    downgrade: str = ""


@frozen
class SynthesisRequest:
    """Say `text` in `voice` (an engine's own name or one of OpenAI's), `speed` times as fast.

    `format` is one of `speaking.FORMATS`; `language` is a subtag such as "de", or none for the
    voice's own.
    """

    text: str
    voice: str
    speed: float = 1.0
    format: str = "mp3"
    language: str | None = None


@frozen
class Message:
    """One turn of a conversation; `role` is system, user or assistant."""

    role: str
    content: str


@frozen
class GenerationRequest:
    """Continue the conversation with the assistant's next turn.

    `temperature` 0 takes the likeliest token every time; `top_k` 0 filters nothing; `max_tokens`
    none is what the context leaves. Generation ends before any of the strings in `stop`. The same
    `seed` draws the same tokens; none is a fresh one.
    """

    messages: tuple[Message, ...]
    temperature: float = 0.8
    top_k: int = 50
    max_tokens: int | None = 512
    stop: tuple[str, ...] = ()
    seed: int | None = None


EngineRequest = TranscriptionRequest | SynthesisRequest | GenerationRequest
"""What an engine of ours can be asked for."""


# --- yielded ---------------------------------------------------------------------------------------


@frozen
class Word:
    """One word with its times in seconds."""

    start: float
    end: float
    word: str


@frozen
class Segment:
    """A stretch of transcript.

    `lead` is what separates it from the text before it (empty for the first, and between scripts
    that write no blanks), so that the concatenation of `lead + text` is the transcript. The
    numeric fields are OpenAI's; an engine that has no value keeps the neutral default.
    """

    start: float
    end: float
    text: str
    words: tuple[Word, ...] | None = None
    lead: str = ""
    seek: int = 0
    tokens: tuple[int, ...] = ()
    temperature: float = 0.0
    avg_logprob: float = 0.0
    compression_ratio: float = 1.0
    no_speech_prob: float = 0.0
    extra: Mapping[str, Any] = attrs.field(factory=dict)


@frozen
class Notice:
    """Something the client should know before the first delta."""

    code: str
    model: str
    message: str


@frozen
class Head:
    """A relayed answer's status and headers."""

    status: int
    headers: tuple[tuple[str, str], ...]


@frozen
class Piece:
    """Bytes of a relayed answer, exactly as they came."""

    data: bytes


@frozen
class Token:
    """Text of one or more generated tokens, and the number of the slot that made it."""

    text: str
    slot: int = 0


Chunk = Segment | Notice | Head | Piece | Token


DOWNLOAD = "download"
"""The unit of a download's progress: bytes on the disk, of those there will be."""


@frozen
class Progress:
    """How far a step is: `done` of `total` in `unit`: "s" of audio, "tokens", DOWNLOAD (bytes that have
    arrived from a hub), or "bytes" read into memory."""

    done: float
    total: float | None
    unit: str

    @property
    def share(self) -> float | None:
        """`done / total` between 0 and 1; None if the total is unknown."""
        return min(max(self.done / self.total, 0.0), 1.0) if self.total else None

    def left_s(self, spent_s: float) -> float | None:
        """Seconds still to go at the pace of the `spent_s` so far; None if there is no pace yet."""
        share = self.share
        return spent_s * (1 - share) / share if share else None


# --- returned --------------------------------------------------------------------------------------


@frozen
class Transcript:
    """The end of a transcription: what the text was in, how long the audio is, and the whole text.

    `text` is the concatenation of the segments and `segments` their number; the engine leaves both
    empty and the child process fills them in while it passes the segments on.
    """

    language: str
    duration: float
    text: str = ""
    segments: int = 0


@frozen
class Tail:
    """The end of a relayed answer; `data` are its last bytes, held back until the end was certain."""

    data: bytes = b""
    complete: bool = True


@frozen
class Generated:
    """The end of a generation: tokens made, why it ended ("stop" or "length"), tokens of the prompt."""

    tokens: int
    finish_reason: str
    prompt_tokens: int = 0


@frozen
class Accepted:
    """The answer to a swap: `status` is "accepted" or "ok"; `current_model` is what serves now."""

    status: str
    current_model: str


Result = Transcript | Tail | Generated | Accepted

Report = Callable[[Progress], None]
"""How a load shows that it is alive and how far it is."""

# --- text ------------------------------------------------------------------------------------------

_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x30FF),  # CJK radicals, punctuation, kana
    (0x3100, 0x312F),  # Bopomofo
    (0x31F0, 0x9FFF),  # kana extensions, enclosed CJK, ideographs
    (0xF900, 0xFAFF),  # compatibility ideographs
    (0xFE30, 0xFE4F),  # compatibility forms
    (0xFF00, 0xFFEF),  # full-width forms
    (0x20000, 0x3FFFF),  # ideographs beyond the basic plane
)


def unspaced(char: str) -> bool:
    """Whether `char` belongs to a script written without blanks (Korean is written with them)."""
    point = ord(char)
    return any(low <= point <= high for low, high in _UNSPACED)


def separator(before: str, after: str) -> str:
    """What stands between two pieces of transcript: a blank, or nothing beside an unspaced script."""
    if not before or not after:
        return ""
    return "" if unspaced(before[-1]) or unspaced(after[0]) else " "


# --- frames ----------------------------------------------------------------------------------------

_BY_NAME: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        *(Segment, Notice, Head, Piece, Token, Progress),
        *(Transcript, Tail, Generated),
        *(ModelSpec, TranscriptionRequest, SynthesisRequest, GenerationRequest),
    )
}


def to_frame(value: Any) -> dict[str, Any]:
    """A JSON-ready form of any value above that crosses the pipe; bytes travel as base64."""
    name = type(value).__name__
    if name not in _BY_NAME:
        raise TypeError(f"{name} does not cross the pipe")
    if isinstance(value, Piece | Tail):
        data = base64.b64encode(value.data).decode("ascii")
        return {"is": name, **attrs.asdict(value), "data": data}
    return {"is": name, **attrs.asdict(value)}


def from_frame(frame: Mapping[str, Any]) -> Any:
    """The value that `to_frame` was given."""
    fields = {key: value for key, value in frame.items() if key != "is"}
    kind = _BY_NAME[frame["is"]]
    if kind is Segment:
        words = fields.get("words")
        fields["words"] = None if words is None else tuple(Word(**word) for word in words)
        fields["tokens"] = tuple(fields.get("tokens", ()))
    elif kind is Head:
        fields["headers"] = tuple((name, value) for name, value in fields["headers"])
    elif kind is Piece or kind is Tail:
        fields["data"] = base64.b64decode(fields["data"])
    elif kind is GenerationRequest:
        fields["messages"] = tuple(Message(**message) for message in fields["messages"])
        fields["stop"] = tuple(fields["stop"])
    return kind(**fields)
