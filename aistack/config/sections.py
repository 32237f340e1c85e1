"""The section of an engine, by the engine's name. Pure."""

from __future__ import annotations

from attrs import asdict

from aistack.config import Config
from aistack.config.backends import EngineSection


def engine_section(config: Config, engine: str) -> EngineSection:
    """The settings of one engine; those of an engine from another package are all defaults."""
    section = asdict(config, recurse=False).get(engine)
    return section if isinstance(section, EngineSection) else EngineSection()
