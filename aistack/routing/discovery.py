"""Which engines there are: ours, and those that other packages announce by an entry point."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from importlib.metadata import entry_points

import structlog

from aistack.backends.adapter import Adapted, OldEngine
from aistack.engines import ENGINES, SCRIPTED
from aistack.engines.base import EngineInfo

log = structlog.get_logger("aistack.inventory")

ENTRY_POINTS = ("aistack.backends", "aistack.engines")
"""The groups in which other packages announce engines: `name = "package.module:Class"`. The first is the
old one, read for one more release; the second wins where both name an engine."""


def real_engines() -> dict[str, str]:
    """The engines a service offers by default, as `package.module:Class` by name.

    Ours, then those of other packages; these cannot take a name of the first.
    """
    theirs = {point.name: point.value for group in ENTRY_POINTS for point in entry_points(group=group)}
    taken = ENGINES.keys() | SCRIPTED.keys()
    return ENGINES | {name: dotted for name, dotted in theirs.items() if name not in taken}


def in_order(engines: Mapping[str, str]) -> dict[str, str]:
    """The same, ours first: the order in which equals are tried and listed."""
    places = {name: place for place, name in enumerate(ENGINES)}
    return dict(sorted(engines.items(), key=lambda item: places.get(item[0], len(places))))


def construct(name: str, dotted: str) -> EngineInfo | None:
    """The engine, asked once for its models; None if its package is broken, which is logged."""
    module, _, attribute = dotted.partition(":")
    try:
        engine = _as_engine(name, getattr(importlib.import_module(module), attribute)())
        engine.models()
        return engine
    except Exception:  # a package may raise anything; one broken engine must not stop the service
        log.exception("engine.unusable", engine=name, module=module)
        return None


def _as_engine(name: str, made: object) -> EngineInfo:
    """What was constructed, if it is an engine. Raises TypeError if it is not."""
    if isinstance(made, EngineInfo):
        return made
    if isinstance(made, OldEngine):
        log.warning(
            "engine.outdated",
            engine=name,
            reason="it has `cards` instead of `models`; that works for one more release",
        )
        return Adapted(made)
    lacking = {*EngineInfo.__annotations__, "models", "weights"} - {*dir(made)}
    raise TypeError(f"{type(made).__name__} is not an engine: it lacks {', '.join(sorted(lacking))}")


def importable(module: str) -> bool:
    """Whether a top-level module is on the import path; nothing is imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
