"""The doctor's checks of the configuration: whether it is valid, and whether what it names exists."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve

from aistack.config import Config
from aistack.config.load import ConfigError, LoadedConfig, load_config
from aistack.doctor.findings import Finding, FindingState
from aistack.errors import BackendFault
from aistack.routing.choose import choose_model
from aistack.routing.facts import Facts
from aistack.weights.whisper import lacking


def read(path: str | None) -> tuple[Config, list[Finding]]:
    """The configuration, and the findings about reading it; the defaults if it is invalid."""
    try:
        loaded = load_config(path)
    except ConfigError as exc:
        return Config(), [
            Finding("Configuration", "settings", FindingState.BROKEN, problem)
            for problem in exc.problems
        ]
    return loaded.config, [_source(loaded), *_notes(loaded)]


def _source(loaded: LoadedConfig) -> Finding:
    if loaded.path is None:
        says = "no file: defaults and the environment"
        return Finding("Configuration", "settings", FindingState.WORKS, says, facts={"path": None})
    says = f"valid: {loaded.path}"
    return Finding(
        "Configuration", "settings", FindingState.WORKS, says, facts={"path": str(loaded.path)}
    )


def _notes(loaded: LoadedConfig) -> list[Finding]:
    return [
        Finding(
            "Configuration",
            str(note.fields.get("name", "environment")),
            FindingState.NOTE,
            note.message,
            f"did you mean {note.fields['did_you_mean']}?" if "did_you_mean" in note.fields else "",
        )
        for note in loaded.notes
        if note.level == "warning"
    ]


def named(config: Config, facts: Facts) -> list[Finding]:
    """What the configuration names: model directories, the model to preload, the model root."""
    found = [_local(model, Path(folder)) for model, folder in config.models.local.items()]
    if config.slots.preload:
        found.append(_preload(config.slots.preload, facts))
    if config.inference.root:
        found.append(_folder("inference.root", Path(config.inference.root)))
        if config.inference.model:
            folder = Path(config.inference.root, config.inference.model)
            found.append(_folder("inference.model", folder))
    elif config.inference.model:
        says = f"{config.inference.model}, but inference.root is not set"
        found.append(Finding("Configuration", "inference.model", FindingState.BROKEN, says))
    return found


def _local(model: str, folder: Path) -> Finding:
    name = f"models.local.{model}"
    if not folder.is_dir():
        return Finding("Configuration", name, FindingState.BROKEN, f"{folder} is not a directory")
    lacks = lacking(folder)
    if lacks:
        return Finding("Configuration", name, FindingState.BROKEN, f"{folder} lacks {lacks}")
    return Finding("Configuration", name, FindingState.WORKS, str(folder))


def _preload(model: str, facts: Facts) -> Finding:
    try:
        chosen = choose_model(model, None, False, evolve(facts, fetchable=True))
    except BackendFault as exc:
        return Finding("Configuration", "slots.preload", FindingState.BROKEN, exc.fault.message)
    return Finding("Configuration", "slots.preload", FindingState.WORKS, chosen.model_id)


def _folder(name: str, folder: Path) -> Finding:
    if not folder.is_dir():
        return Finding("Configuration", name, FindingState.BROKEN, f"{folder} is not a directory")
    return Finding("Configuration", name, FindingState.WORKS, str(folder))


def model_findings(facts: Facts) -> list[Finding]:
    """Which models of the installed engines are on the disk."""
    listed = {
        model.id: of.fetches
        for of in facts.engines.values()
        if of.installed
        for model in of.listed
        if model.capability == "asr"
    }
    found = []
    for model in [*listed, *sorted(facts.on_disk - listed.keys())]:
        if model in facts.on_disk:
            found.append(Finding("Models", model, FindingState.WORKS, "on the disk"))
        elif listed[model]:
            says = "not on the disk; downloaded when first used, or now with:"
            found.append(Finding("Models", model, FindingState.MISSING, says, f"aistack pull {model}"))
        else:
            says = "its weights are not on this machine, and its engine cannot fetch them"
            found.append(Finding("Models", model, FindingState.MISSING, says))
    return found
