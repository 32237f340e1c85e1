"""What the operators' endpoints send and take: the types behind `/admin/api`. Pure.

As in `contract.public`, docstrings and `Doc` are the descriptions in the reference. Times are Unix
seconds, durations seconds, memory MiB. A field without a value is left out of the JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from annotated_doc import Doc
from attrs import frozen

from aistack.contract.fields import KEEP_NULL
from aistack.contract.public import Capability

JobKind = Literal["asr", "tts", "llm", "models"]
"""What a job is for; "models" are swaps, loads and unloads."""


@frozen(kw_only=True)
class WorkProgress:
    """Progress of a job's current step."""

    done: Annotated[float, Doc("How much is done, in `unit`.")]
    total: Annotated[float | None, Doc("How much there is in total, if known.")] = None
    unit: Annotated[str, Doc("s (of audio), bytes (of a download) or tokens.")]
    share: Annotated[float | None, Doc("done / total, 0 to 1, if known.")] = None
    eta_s: Annotated[float | None, Doc("Estimated seconds left, from the pace so far.")] = None


@frozen(kw_only=True)
class SlotHolder:
    """The job that holds a slot."""

    job_id: Annotated[str, Doc("Id of the job, as in the log.")]
    request_id: Annotated[str, Doc("X-Request-ID of its request.")]
    op: Annotated[str, Doc("Operation: transcribe, speak, chat, generate, swap, load or unload.")]
    capability: Annotated[JobKind, Doc("Purpose: asr, tts, llm, or models (swaps, loads, unloads).")]
    model: Annotated[str, Doc("Id of the model.")]
    backend: Annotated[str, Doc("Engine or upstream that serves the model.")]
    step: Annotated[
        str | None,
        Doc("What it waits for: evict, load or run; absent between steps."),
    ] = None
    since: Annotated[float, Doc("When it got the slot.")]
    state_since: Annotated[float, Doc("When it entered its current state.")]
    progress: Annotated[
        WorkProgress | None,
        Doc("Progress of its current step; absent if unknown."),
    ] = None


@frozen(kw_only=True)
class ResidentModel:
    """A model that one of aistack's processes holds in memory."""

    backend: Annotated[str, Doc("Engine or upstream that serves the model.")]
    model: Annotated[str, Doc("Id of the model.")]
    category: Annotated[JobKind, Doc("What the model is for.")]


@frozen(kw_only=True)
class SlotView:
    """One slot: a GPU, or a share of the CPU."""

    device: Annotated[str, Doc("Device of the slot: cpu, cuda:0, ...")]
    state: Annotated[
        Literal["idle", "preparing", "running", "streaming", "cancelled"],
        Doc("cancelled: its client has disconnected and the work is being stopped."),
    ]
    since: Annotated[float, Doc("When it was taken, or became free.")]
    holder: Annotated[SlotHolder | None, Doc("The job that holds it; absent while it is free.")] = None
    resident: Annotated[
        ResidentModel | None, Doc("The model in its memory; absent if aistack has none there.")
    ] = None


@frozen(kw_only=True)
class SlotsView:
    """All slots."""

    mode: Annotated[Literal["serving", "draining"], Doc("draining: the service is about to stop.")]
    slots: Annotated[tuple[SlotView, ...], Doc("All slots, in the order of the configuration.")]


@frozen(kw_only=True)
class LineEntry:
    """A job in the queue; the first one is served next."""

    job_id: Annotated[str, Doc("Id of the job, as in the log.")]
    request_id: Annotated[str, Doc("X-Request-ID of its request.")]
    op: Annotated[str, Doc("Operation: transcribe, speak, chat, generate, swap, load or unload.")]
    capability: Annotated[JobKind, Doc("Purpose: asr, tts, llm, or models (swaps, loads, unloads).")]
    model: Annotated[str, Doc("Id of the model.")]
    since: Annotated[float, Doc("When it joined the queue.")]
    patience_s: Annotated[float, Doc("How long its caller is willing to wait in total.")]


@frozen(kw_only=True)
class LineView:
    """The queue for the slots."""

    places: Annotated[int, Doc("How many callers may queue.")]
    line: Annotated[tuple[LineEntry, ...], Doc("Queued jobs, in the order in which they are served.")]


@frozen(kw_only=True)
class LockView:
    """Whether the GPU is in use, and for what."""

    state: Annotated[Literal["IDLE", "BUSY"], Doc("BUSY if any slot is held.")]
    holder: Annotated[JobKind | None, Doc("Capability of the first holder, or null."), KEEP_NULL] = None
    slots: Annotated[int, Doc("Number of slots.")]
    held: Annotated[int, Doc("Number of slots that are held.")]


@frozen(kw_only=True)
class CachedModel:
    """A model in memory."""

    provider: Annotated[str, Doc("What runs it, as in error.provider.")]
    key: Annotated[str, Doc("Id of the model.")]
    category: Annotated[JobKind, Doc("What the model is for.")]
    device: Annotated[str, Doc("Device of the slot: cpu, cuda:0, ...")]
    idle_s: Annotated[
        float | None,
        Doc("Seconds since its last use; null while in use."),
        KEEP_NULL,
    ] = None


@frozen(kw_only=True)
class CacheView:
    """The models in memory, and when idle ones are unloaded."""

    entries: Annotated[tuple[CachedModel, ...], Doc("One for each slot that holds a model.")]
    idle_unload_s: Annotated[float, Doc("Idle models are unloaded after this many seconds; 0: never.")]


@frozen(kw_only=True)
class ResetResult:
    """The result of a reset."""

    evicted: Annotated[int, Doc("Number of models unloaded; 0 while their slots are held.")]
    remaining: Annotated[CacheView, Doc("What is in memory afterwards.")]


@frozen(kw_only=True)
class CardView:
    """Memory of one GPU, counting all processes."""

    device: Annotated[str, Doc("Device of the slot: cpu, cuda:0, ...")]
    name: Annotated[str, Doc("Name of the GPU.")]
    total_mb: Annotated[float, Doc("Total memory.")]
    free_mb: Annotated[float, Doc("Free memory.")]
    used_mb: Annotated[float, Doc("Memory in use by any process.")]
    ours_mb: Annotated[
        float | None, Doc("Memory that aistack's engine processes hold, if the driver reports it.")
    ] = None


@frozen(kw_only=True)
class ProcessView:
    """One of aistack's processes and its resident memory."""

    pid: Annotated[int, Doc("Process id.")]
    engine: Annotated[str, Doc("Name of the engine; gateway for the service itself.")]
    device: Annotated[str | None, Doc("Its slot; absent for a warm spare.")] = None
    rss_mb: Annotated[float | None, Doc("Resident memory; absent if unknown.")] = None


@frozen(kw_only=True)
class MemoryView:
    """Memory of the GPUs and of aistack's processes."""

    cards: Annotated[tuple[CardView, ...], Doc("One for each CUDA device that is a slot.")]
    reason: Annotated[str | None, Doc("Why no GPU is listed.")] = None
    processes: Annotated[tuple[ProcessView, ...], Doc("The service itself, then its engine processes.")]


@frozen(kw_only=True)
class PhaseSpan:
    """One phase of a job."""

    phase: Annotated[
        Literal["waiting", "preparing", "running", "streaming", "cancelled"],
        Doc("The phase; cancelled: its client had disconnected and the work was being stopped."),
    ]
    step: Annotated[str | None, Doc("While preparing: evict or load.")] = None
    start: Annotated[float, Doc("When it began.")]
    end: Annotated[float | None, Doc("When it ended; absent while it lasts.")] = None


@frozen(kw_only=True)
class JobRecord:
    """A job and where its time went."""

    job_id: Annotated[str, Doc("Id of the job, as in the log.")]
    request_id: Annotated[str, Doc("X-Request-ID of its request.")]
    op: Annotated[str, Doc("Operation: transcribe, speak, chat, generate, swap, load or unload.")]
    capability: Annotated[JobKind, Doc("Purpose: asr, tts, llm, or models (swaps, loads, unloads).")]
    model: Annotated[str, Doc("Id of the model.")]
    backend: Annotated[str, Doc("Engine or upstream that serves the model.")]
    device: Annotated[str | None, Doc("Its slot; absent if it never got one.")] = None
    submitted: Annotated[float, Doc("When it was submitted.")]
    ended: Annotated[float | None, Doc("When it ended; absent while it lasts.")] = None
    outcome: Annotated[str | None, Doc("ok, rejected, failed, cancelled or revoked.")] = None
    code: Annotated[str | None, Doc("Code of the error, if it failed.")] = None
    audio_s: Annotated[
        float | None,
        Doc("Length of the audio, for a transcription that succeeded."),
    ] = None
    phases: Annotated[tuple[PhaseSpan, ...], Doc("In chronological order, without gaps.")]


@frozen(kw_only=True)
class RefusedCall:
    """A request that was refused at once."""

    at: Annotated[float, Doc("When it was refused.")]
    request_id: Annotated[str, Doc("Its X-Request-ID.")]
    op: Annotated[str, Doc("Operation: transcribe, speak, chat, generate, swap, load or unload.")]
    capability: Annotated[JobKind, Doc("Purpose: asr, tts, llm, or models (swaps, loads, unloads).")]
    model: Annotated[str, Doc("Id of the model.")]
    code: Annotated[str | None, Doc("Code of the error.")] = None


@frozen(kw_only=True)
class MinuteCounts:
    """Requests answered or refused in one minute."""

    at: Annotated[float, Doc("Start of the minute.")]
    asr: Annotated[int, Doc("Speech to text.")] = 0
    tts: Annotated[int, Doc("Text to speech.")] = 0
    llm: Annotated[int, Doc("Chats and generations.")] = 0


@frozen(kw_only=True)
class TimelineView:
    """The latest jobs and swaps, oldest first, including those in progress; and refused requests."""

    jobs: Annotated[tuple[JobRecord, ...], Doc("Oldest first; jobs in progress come last.")]
    refused: Annotated[tuple[RefusedCall, ...], Doc("Requests that were refused at once, oldest first.")]
    minutes: Annotated[
        tuple[MinuteCounts, ...],
        Doc("Minutes of the last hour with at least one request, oldest first."),
    ]


@frozen(kw_only=True)
class AdminModel:
    """A model as operators see it."""

    id: Annotated[str, Doc("Id of the model.")]
    owned_by: Annotated[str, Doc("Author of the model.")]
    capabilities: Annotated[tuple[Capability, ...], Doc("What the model can do.")]
    supports_streaming: Annotated[bool, Doc("Whether stream=true returns the result incrementally.")]
    is_routing_alias: Annotated[
        bool, Doc("Whether the id is resolved to a real model for each request.")
    ]
    languages: Annotated[
        tuple[str, ...] | None, Doc("ISO 639 codes; absent where they do not apply.")
    ] = None
    loaded: Annotated[bool | None, Doc("Whether the model is in memory now; absent if unknown.")] = None
    on_disk: Annotated[
        bool | None,
        Doc("Whether its weights need no download; absent if unknown."),
    ] = None
    loadable: Annotated[bool, Doc("Whether POST /admin/api/models/load accepts it.")]


@frozen(kw_only=True)
class AdminModels:
    """All models that can be requested right now."""

    models: Annotated[tuple[AdminModel, ...], Doc("All models.")]


@frozen(kw_only=True)
class StateView:
    """What the console polls every second: slots, queue, memory and timeline together."""

    version: Annotated[str, Doc("Version of aistack.")]
    started: Annotated[float, Doc("When the service started.")]
    parts: Annotated[
        tuple[str, ...], Doc("Optional parts that this service has: metrics, observability, relays.")
    ]
    mode: Annotated[Literal["serving", "draining"], Doc("draining: the service is about to stop.")]
    slots: Annotated[tuple[SlotView, ...], Doc("All slots, in the order of the configuration.")]
    line: Annotated[LineView, Doc("The queue for the slots.")]
    idle_unload_s: Annotated[float, Doc("Idle models are unloaded after this many seconds; 0: never.")]
    memory: Annotated[MemoryView, Doc("Memory of GPUs and processes.")]
    timeline: Annotated[TimelineView, Doc("The latest jobs.")]


@frozen(kw_only=True)
class LogTail:
    """Log lines, oldest first."""

    newest: Annotated[int, Doc("Number of the newest line; send it as `after` next time.")]
    lines: Annotated[tuple[Mapping[str, Any], ...], Doc("The lines, as logged.")]


@frozen(kw_only=True)
class ModelAsked:
    """The model to load or unload."""

    CLOSED: ClassVar[bool] = True

    model: Annotated[str, Doc("An id from /v1/models of a model that aistack runs itself.")]


@frozen(kw_only=True)
class ModelTicket:
    """A housekeeping job that was started, or was not needed."""

    job_id: Annotated[str, Doc("Id of the job, as in the log; empty if there was none.")]
    model: Annotated[str, Doc("Id of the model.")]
    status: Annotated[Literal["accepted", "ok"], Doc("ok: there was nothing to do.")]
