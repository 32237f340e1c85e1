"""The entries of /v1/models for the engines. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import cast

from attrs import evolve

from aistack.contract.public import Capability, Download, ModelEntry
from aistack.engines.base import OfferedModel
from aistack.jobs.model import Resident
from aistack.routing.choose import AUTO
from aistack.routing.facts import EngineFacts, Facts

AUTO_CREATED = 1_767_225_600
"""`created` of the routing alias: a fixed time (2026-01-01)."""


def asr_entries(
    facts: Facts,
    created: Mapping[str, int],
    residents: Collection[Resident],
    downloads: Mapping[Resident, Download] = {},
) -> tuple[ModelEntry, ...]:
    """The speech-to-text entries: `auto`, the engines' models in order, the operator's directories, and
    models that are not listed while they are being downloaded.

    Installed engines only. `created` are the times of the directories, unix seconds. A directory under
    the id of a listed model is that model's weights, and has no second entry.
    """
    in_order = sorted(facts.engines.items(), key=lambda item: item[1].auto.last_resort)
    models = [
        (engine, model)
        for engine, of in in_order
        for model in servable(of, facts)
        if model.capability == "asr"
    ]
    if not models:
        return ()
    ids = {model.id.lower() for _, model in models}
    directories = [
        (engine, evolve(of.default, id=id, owned_by="local", created=created.get(id, 0)))
        for engine, of in in_order
        if of.takes_directories and of.installed
        for id in facts.local
        if id.lower() not in ids and id in facts.on_disk
    ]
    shown = {model.id for _, model in (*models, *directories)}
    arriving = [
        (engine, of.model(coming.model))
        for coming in downloads
        for engine, of in in_order
        if coming.backend == engine and of.transcribing and coming.model not in shown
    ]
    at = {coming.model: download for coming, download in downloads.items()}
    listed = [
        evolve(engine_entry(engine, model, residents), download=at.get(model.id))
        for engine, model in (*models, *directories, *arriving)
    ]
    alias = ModelEntry(
        id=AUTO,
        created=AUTO_CREATED,
        owned_by="aistack",
        capabilities=("asr",),
        supports_streaming=all(model.supports_streaming for _, model in models),
        is_routing_alias=True,
    )
    return (alias, *listed)


def voice_entries(facts: Facts, residents: Collection[Resident]) -> tuple[ModelEntry, ...]:
    """The entries of the voices inside our engines."""
    return tuple(
        engine_entry(engine, model, residents)
        for engine, of in facts.engines.items()
        for model in servable(of, facts)
        if model.capability == "tts"
    )


def servable(of: EngineFacts, facts: Facts) -> tuple[OfferedModel, ...]:
    """The listed models of an engine that a request could reach: none of one that is not installed, and
    none whose weights are missing on an engine that cannot fetch them."""
    if not of.installed:
        return ()
    return tuple(model for model in of.listed if of.fetches or model.id in facts.on_disk)


def engine_entry(engine: str, model: OfferedModel, residents: Collection[Resident]) -> ModelEntry:
    """One model of an engine."""
    return ModelEntry(
        id=model.id,
        created=model.created,
        owned_by=model.owned_by,
        capabilities=(cast(Capability, model.capability),),
        supports_streaming=model.supports_streaming,
        languages=model.languages or None,
        loaded=Resident(engine, model.id) in residents,
        max_seconds=model.max_seconds,
        word_timestamps=model.word_timestamps,
        translate=model.translate,
    )
