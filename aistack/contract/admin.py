"""What the operator's endpoints tell: the types behind `/admin/api`. Pure.

As in `contract.public`, docstrings and `says` are the reference's descriptions. Moments are Unix
seconds, durations seconds, memory MiB. A field without a value is left out of the JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from attrs import field, frozen

from aistack.contract.public import Capability

Kind = Literal["asr", "tts", "llm", "models"]
"""What a job is for; "models" are swaps, loads and unloads."""


@frozen(kw_only=True)
class WorkProgress:
    """How far a job's current step is."""

    done: float = field(metadata={"says": "How much is done, in `unit`."})
    total: float | None = field(default=None, metadata={"says": "How much there is, where known."})
    unit: str = field(metadata={"says": "s (of audio), bytes (of a download) or tokens."})
    share: float | None = field(default=None, metadata={"says": "done / total, 0 to 1, where known."})
    eta_s: float | None = field(
        default=None, metadata={"says": "Estimate of the seconds still to go, from the pace so far."}
    )


@frozen(kw_only=True)
class SlotHolder:
    """The job that holds a slot."""

    job_id: str = field(metadata={"says": "Id of the job, as in the log."})
    request_id: str = field(metadata={"says": "The X-Request-ID of its request."})
    op: str = field(metadata={"says": "transcribe, speak, chat, generate, swap, load or unload."})
    capability: Kind = field(
        metadata={"says": "What it is for: asr, tts, llm, or models (swaps, loads, unloads)."}
    )
    model: str = field(metadata={"says": "The model's id."})
    backend: str = field(metadata={"says": "The engine or upstream that serves it."})
    step: str | None = field(
        default=None, metadata={"says": "What it waits for: evict, load or run; absent between steps."}
    )
    since: float = field(metadata={"says": "When it got the slot."})
    state_since: float = field(metadata={"says": "When it came into its present state."})
    progress: WorkProgress | None = field(
        default=None, metadata={"says": "How far its current step is; absent where nobody can say."}
    )


@frozen(kw_only=True)
class ResidentModel:
    """A model that one of our processes holds in memory."""

    backend: str = field(metadata={"says": "The engine or upstream that serves it."})
    model: str = field(metadata={"says": "The model's id."})
    category: Kind = field(metadata={"says": "What the model is for."})


@frozen(kw_only=True)
class SlotView:
    """One slot: a card, or a share of the processor."""

    device: str = field(metadata={"says": "The slot: cpu, cuda:0, ..."})
    state: Literal["idle", "preparing", "running", "streaming", "cancelled"] = field(
        metadata={"says": "cancelled: its client has left and the work is being stopped."}
    )
    since: float = field(metadata={"says": "Since when it is held, or free."})
    holder: SlotHolder | None = field(
        default=None, metadata={"says": "Who holds it; absent while it is free."}
    )
    resident: ResidentModel | None = field(
        default=None, metadata={"says": "What sits in its memory; absent if nothing of ours does."}
    )


@frozen(kw_only=True)
class SlotsView:
    """Every slot."""

    mode: Literal["serving", "draining"] = field(
        metadata={"says": "draining: the service is about to stop."}
    )
    slots: tuple[SlotView, ...] = field(
        metadata={"says": "All slots, in the order of the configuration."}
    )


@frozen(kw_only=True)
class LineEntry:
    """A job that stands in line; the first is served next."""

    job_id: str = field(metadata={"says": "Id of the job, as in the log."})
    request_id: str = field(metadata={"says": "The X-Request-ID of its request."})
    op: str = field(metadata={"says": "transcribe, speak, chat, generate, swap, load or unload."})
    capability: Kind = field(
        metadata={"says": "What it is for: asr, tts, llm, or models (swaps, loads, unloads)."}
    )
    model: str = field(metadata={"says": "The model's id."})
    since: float = field(metadata={"says": "Since when it waits."})
    patience_s: float = field(metadata={"says": "How long its caller is willing to wait in all."})


@frozen(kw_only=True)
class LineView:
    """Who waits for a slot."""

    places: int = field(metadata={"says": "How many callers may stand in line."})
    line: tuple[LineEntry, ...] = field(metadata={"says": "Who waits, in order of service."})


@frozen(kw_only=True)
class LockView:
    """Whether the card is taken, and by what."""

    state: Literal["IDLE", "BUSY"] = field(metadata={"says": "BUSY if any slot is held."})
    holder: Kind | None = field(
        default=None, metadata={"says": "Capability of the first holder.", "keep_null": True}
    )
    slots: int = field(metadata={"says": "How many there are."})
    held: int = field(metadata={"says": "How many slots are held."})


@frozen(kw_only=True)
class CachedModel:
    """A model in memory."""

    provider: str = field(metadata={"says": "Who runs it, as in error.provider."})
    key: str = field(metadata={"says": "The model's id."})
    category: Kind = field(metadata={"says": "What the model is for."})
    device: str = field(metadata={"says": "The slot: cpu, cuda:0, ..."})
    idle_s: float | None = field(
        default=None,
        metadata={"says": "Seconds since its last use; null while in use.", "keep_null": True},
    )


@frozen(kw_only=True)
class CacheView:
    """The models in memory, and when an idle one is unloaded."""

    entries: tuple[CachedModel, ...] = field(metadata={"says": "One for each slot that holds a model."})
    idle_unload_s: float = field(metadata={"says": "0: idle models stay for ever."})


@frozen(kw_only=True)
class ResetResult:
    """What a reset has done."""

    evicted: int = field(metadata={"says": "Models unloaded; 0 while their slots are held."})
    remaining: CacheView = field(metadata={"says": "What is in memory afterwards."})


@frozen(kw_only=True)
class CardView:
    """Memory of one card, all processes together."""

    device: str = field(metadata={"says": "The slot: cpu, cuda:0, ..."})
    name: str = field(metadata={"says": "The card's name."})
    total_mb: float = field(metadata={"says": "All its memory."})
    free_mb: float = field(metadata={"says": "What is free."})
    used_mb: float = field(metadata={"says": "What is in use, by anybody."})
    ours_mb: float | None = field(
        default=None, metadata={"says": "What our engine processes hold, where the driver tells."}
    )


@frozen(kw_only=True)
class ProcessView:
    """A process of ours and its resident memory."""

    pid: int = field(metadata={"says": "Process id."})
    engine: str = field(metadata={"says": "The engine's name; gateway for the service itself."})
    device: str | None = field(default=None, metadata={"says": "Its slot; absent for a warm spare."})
    rss_mb: float | None = field(default=None, metadata={"says": "Absent where nobody can say."})


@frozen(kw_only=True)
class MemoryView:
    """Memory of the cards and of our processes."""

    cards: tuple[CardView, ...] = field(metadata={"says": "One for each CUDA device of a slot."})
    reason: str | None = field(default=None, metadata={"says": "Why there are no cards."})
    processes: tuple[ProcessView, ...] = field(
        metadata={"says": "The service itself, then its engine processes."}
    )


@frozen(kw_only=True)
class PhaseSpan:
    """A stretch of a job's life."""

    phase: Literal["waiting", "preparing", "running", "streaming", "cancelled"] = field(
        metadata={
            "says": "What happened to it; cancelled: its client had left and the work was being stopped."
        }
    )
    step: str | None = field(default=None, metadata={"says": "While preparing: evict or load."})
    start: float = field(metadata={"says": "When it began."})
    end: float | None = field(default=None, metadata={"says": "Absent while it lasts."})


@frozen(kw_only=True)
class JobRecord:
    """A job and where its seconds went."""

    job_id: str = field(metadata={"says": "Id of the job, as in the log."})
    request_id: str = field(metadata={"says": "The X-Request-ID of its request."})
    op: str = field(metadata={"says": "transcribe, speak, chat, generate, swap, load or unload."})
    capability: Kind = field(
        metadata={"says": "What it is for: asr, tts, llm, or models (swaps, loads, unloads)."}
    )
    model: str = field(metadata={"says": "The model's id."})
    backend: str = field(metadata={"says": "The engine or upstream that serves it."})
    device: str | None = field(default=None, metadata={"says": "Its slot; absent if it got none."})
    submitted: float = field(metadata={"says": "When it came."})
    ended: float | None = field(default=None, metadata={"says": "Absent while it lasts."})
    outcome: str | None = field(
        default=None, metadata={"says": "ok, rejected, failed, cancelled or revoked."}
    )
    code: str | None = field(default=None, metadata={"says": "The error's code, if it failed."})
    audio_s: float | None = field(
        default=None,
        metadata={"says": "Length of the audio, if it was a transcription that ended well."},
    )
    phases: tuple[PhaseSpan, ...] = field(
        metadata={"says": "In the order of time; between them is nothing."}
    )


@frozen(kw_only=True)
class RefusedCall:
    """A call that was turned away at once."""

    at: float = field(metadata={"says": "When."})
    request_id: str = field(metadata={"says": "The X-Request-ID of its request."})
    op: str = field(metadata={"says": "transcribe, speak, chat, generate, swap, load or unload."})
    capability: Kind = field(
        metadata={"says": "What it is for: asr, tts, llm, or models (swaps, loads, unloads)."}
    )
    model: str = field(metadata={"says": "The model's id."})
    code: str | None = field(default=None, metadata={"says": "The error's code."})


@frozen(kw_only=True)
class MinuteCounts:
    """How many calls were answered or refused in one minute."""

    at: float = field(metadata={"says": "The minute's beginning."})
    asr: int = field(default=0, metadata={"says": "Speech to text."})
    tts: int = field(default=0, metadata={"says": "Text to speech."})
    llm: int = field(default=0, metadata={"says": "Chats and generations."})


@frozen(kw_only=True)
class TimelineView:
    """The last jobs and swaps, oldest first, with those under way; and calls that were refused."""

    jobs: tuple[JobRecord, ...] = field(metadata={"says": "Oldest first; those under way come last."})
    refused: tuple[RefusedCall, ...] = field(
        metadata={"says": "Calls that were turned away at once, oldest first."}
    )
    minutes: tuple[MinuteCounts, ...] = field(
        metadata={"says": "The last hour's minutes that had any call, oldest first."}
    )


@frozen(kw_only=True)
class AdminModel:
    """A model as the operator sees it."""

    id: str = field(metadata={"says": "Id of the model."})
    owned_by: str = field(metadata={"says": "The model's author."})
    capabilities: tuple[Capability, ...] = field(metadata={"says": "What the model does."})
    supports_streaming: bool = field(metadata={"says": "Whether stream=true brings real increments."})
    is_routing_alias: bool = field(
        metadata={"says": "Whether it is resolved to a real model per request."}
    )
    languages: tuple[str, ...] | None = field(
        default=None, metadata={"says": "ISO 639 codes; absent where the question makes no sense."}
    )
    loaded: bool | None = field(
        default=None, metadata={"says": "Whether it is in memory now; absent where not ours."}
    )
    on_disk: bool | None = field(
        default=None, metadata={"says": "Whether its weights need no download; absent where not ours."}
    )
    loadable: bool = field(metadata={"says": "Whether POST /admin/api/models/load takes it."})


@frozen(kw_only=True)
class AdminModels:
    """All models that can be asked for right now."""

    models: tuple[AdminModel, ...] = field(metadata={"says": "All models."})


@frozen(kw_only=True)
class StateView:
    """What the console looks at every second: slots, line, memory and timeline in one."""

    version: str = field(metadata={"says": "Version of aistack."})
    started: float = field(metadata={"says": "When the service started."})
    parts: tuple[str, ...] = field(
        metadata={"says": "Parts that not every service has: metrics, observability, relays."}
    )
    mode: Literal["serving", "draining"] = field(
        metadata={"says": "draining: the service is about to stop."}
    )
    slots: tuple[SlotView, ...] = field(
        metadata={"says": "All slots, in the order of the configuration."}
    )
    line: LineView = field(metadata={"says": "Who waits, in order of service."})
    idle_unload_s: float = field(metadata={"says": "0: idle models stay for ever."})
    memory: MemoryView = field(metadata={"says": "Memory of cards and processes."})
    timeline: TimelineView = field(metadata={"says": "The last jobs."})


@frozen(kw_only=True)
class LogTail:
    """Log lines, oldest first."""

    newest: int = field(metadata={"says": "Number of the newest line: send it as `after` next time."})
    lines: tuple[Mapping[str, Any], ...] = field(metadata={"says": "The lines, as they are logged."})


@frozen(kw_only=True)
class ModelAsked:
    """Which model to load or unload."""

    CLOSED: ClassVar[bool] = True

    model: str = field(metadata={"says": "An id of /v1/models that is ours."})


@frozen(kw_only=True)
class ModelTicket:
    """A housekeeping job that has begun, or was not needed."""

    job_id: str = field(metadata={"says": "Id of the job, as in the log; empty if there was none."})
    model: str = field(metadata={"says": "The model's id."})
    status: Literal["accepted", "ok"] = field(metadata={"says": "ok: nothing had to be done."})
