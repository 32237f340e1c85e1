"""The snapshot as the operator's types show it. Functions of their arguments only.

`at` converts the scheduler's seconds to Unix seconds; `now` is the scheduler's time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Literal

from aistack.contract.admin import (
    AdminModel,
    AdminModels,
    CachedModel,
    CacheView,
    JobKind,
    LineEntry,
    LineView,
    LockView,
    ResidentModel,
    SlotHolder,
    SlotView,
    WorkProgress,
)
from aistack.contract.public import ModelEntry
from aistack.jobs.model import Job, Resident, Slot, Snapshot
from aistack.jobs.states import Phase
from aistack.observe.history import CAPABILITY
from aistack.routing.facts import Facts

At = Callable[[float], float]
Freed = Callable[[str], float]
_STATE: Mapping[Phase, Literal["preparing", "running", "streaming", "cancelled"]] = {
    Phase.PREPARING: "preparing",
    Phase.RUNNING: "running",
    Phase.STREAMING: "streaming",
    Phase.CANCELLED: "cancelled",
}


def lock(snapshot: Snapshot) -> LockView:
    """Whether any slot is held, and by what."""
    held = [slot.holder for slot in snapshot.slots if slot.holder is not None]
    return LockView(
        state="BUSY" if held else "IDLE",
        holder=CAPABILITY[snapshot.jobs[held[0]].op] if held else None,
        slots=len(snapshot.slots),
        held=len(held),
    )


def slots(snapshot: Snapshot, facts: Facts, at: At, now: float, freed: Freed) -> tuple[SlotView, ...]:
    """Every slot; `freed` returns since when a slot is free, in Unix seconds."""
    return tuple(_slot(snapshot, slot, facts, at, now, freed) for slot in snapshot.slots)


def _slot(snapshot: Snapshot, slot: Slot, facts: Facts, at: At, now: float, freed: Freed) -> SlotView:
    resident = _resident(slot.resident, facts)
    if slot.holder is None:
        return SlotView(device=slot.device, state="idle", since=freed(slot.device), resident=resident)
    job = snapshot.jobs[slot.holder]
    granted = at(job.granted if job.granted is not None else job.since)
    return SlotView(
        device=slot.device,
        state=_STATE[job.phase],
        since=granted,
        resident=resident,
        holder=SlotHolder(
            job_id=job.id,
            request_id=job.request_id,
            op=job.op.value,
            capability=CAPABILITY[job.op],
            model=job.route.model,
            backend=job.route.backend,
            step=job.step.value if job.step is not None else None,
            since=granted,
            state_since=at(job.since),
            progress=progress(job, now),
        ),
    )


def progress(job: Job, now: float) -> WorkProgress | None:
    """How far the job's step is, and by the pace of its run how long it may still take."""
    progress = job.progress
    if progress is None:
        return None
    share = progress.share
    left_s = None if job.ran is None else progress.left_s(now - job.ran)
    return WorkProgress(
        done=round(progress.done, 3),
        total=progress.total,
        unit=progress.unit,
        share=None if share is None else round(share, 4),
        eta_s=None if left_s is None else round(left_s, 1),
    )


def line(snapshot: Snapshot, at: At) -> LineView:
    """Who waits, in order of service."""
    waiting = (snapshot.jobs[job_id] for job_id in snapshot.queue)
    return LineView(
        places=snapshot.limits.max_queued,
        line=tuple(
            LineEntry(
                job_id=job.id,
                request_id=job.request_id,
                op=job.op.value,
                capability=CAPABILITY[job.op],
                model=job.route.model,
                since=at(job.since),
                patience_s=job.max_wait_s,
            )
            for job in waiting
        ),
    )


def _resident(resident: Resident | None, facts: Facts) -> ResidentModel | None:
    if resident is None:
        return None
    kind = category(resident, facts)
    return ResidentModel(backend=resident.backend, model=resident.model, category=kind)


def category(resident: Resident, facts: Facts) -> JobKind:
    """The capability of a model in memory. Engines without models serve the operator's own weights."""
    engine = facts.engines.get(resident.backend)
    if engine is None or not engine.models:
        return "llm"
    found = engine.models[0].capability
    return "asr" if found == "asr" else "tts" if found == "tts" else "llm"


def cache(snapshot: Snapshot, facts: Facts, idle: Callable[[str], float], unload_s: float) -> CacheView:
    """The models in memory; `idle` returns how long a slot has been free, in seconds."""
    entries = []
    for slot in snapshot.slots:
        resident = slot.resident
        if resident is None:
            continue
        engine = facts.engines.get(resident.backend)
        entries.append(
            CachedModel(
                provider=engine.provider if engine is not None else resident.backend,
                key=resident.model,
                category=category(resident, facts),
                device=slot.device,
                idle_s=round(idle(slot.device), 1) if slot.holder is None else None,
            )
        )
    return CacheView(entries=tuple(entries), idle_unload_s=unload_s)


def voice_called(model: str, facts: Facts) -> Resident | None:
    """The installed text-to-speech engine with this id; routing only knows speech-to-text engines."""
    for name, engine in facts.engines.items():
        for offered in engine.models:
            if engine.installed and offered.capability == "tts" and offered.id == model:
                return Resident(name, offered.id)
    return None


def models(entries: Collection[ModelEntry], facts: Facts) -> AdminModels:
    """The entries of /v1/models with additional details for the operator."""
    ours = {model.id for engine in facts.engines.values() if engine.installed for model in engine.models}
    ours |= facts.local.keys()
    return AdminModels(
        models=tuple(
            AdminModel(
                id=entry.id,
                owned_by=entry.owned_by,
                capabilities=entry.capabilities,
                supports_streaming=entry.supports_streaming,
                is_routing_alias=entry.is_routing_alias,
                languages=entry.languages,
                loaded=entry.loaded,
                on_disk=entry.id in facts.on_disk if entry.id in ours else None,
                loadable=entry.id in ours,
            )
            for entry in entries
        )
    )
