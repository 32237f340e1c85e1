"""What an engine's process is given to load, from the configuration."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from attrs import asdict

from aistack.chunks import ModelSpec
from aistack.config import Config
from aistack.config.sections import engine_section
from aistack.engines.base import EngineInfo, OperatorModels

NOT_OPTIONS = frozenset({"python", "kill_after_s", "weights", "batched"})
"""Settings of an engine's section that its process is not given."""


def specification(config: Config, engine: EngineInfo, model: str, device: str) -> ModelSpec:
    """The model to load; its options are the engine's section, without what is empty, and `threads`."""
    settings = asdict(engine_section(config, engine.name))
    options: dict[str, Any] = {"threads": config.engines.threads} if config.engines.threads else {}
    options |= {key: value for key, value in settings.items() if key not in NOT_OPTIONS and value != ""}
    devices = config.slots.devices
    slot = devices.index(device) if device in devices else 0
    return ModelSpec(model, _source_of(config, engine, model, settings), device, options, slot)


def _source_of(config: Config, engine: EngineInfo, model: str, settings: dict[str, Any]) -> str:
    """What the engine's library is given: a directory or file, a size, or a hub id."""
    match engine.operator_models:
        case OperatorModels.TAGS:
            return str(PurePath(config.inference.root, model))
        case OperatorModels.LOCAL if model in config.models.local:
            return config.models.local[model]
        case _:
            own = next((offered.source for offered in engine.models() if offered.id == model), "")
            return str(settings.get("weights", "")) or own or model
