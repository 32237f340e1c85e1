"""Engines written against the last release, asked as engines are now. Goes with the next release."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from aistack.engines.base import EngineDefaults, OfferedModel


@runtime_checkable
class OldEngine(Protocol):
    """What the last release asked an engine in the gateway's own process."""

    name: str
    provider: str
    requires: tuple[str, ...]
    install: str
    kill_after_s: float

    def cards(self) -> Sequence[OfferedModel]:
        """The models to list."""
        ...


class Adapted(EngineDefaults):
    """An old engine's answers, and defaults for what it was never asked: its weights count as here."""

    def __init__(self, engine: OldEngine) -> None:
        self.name = engine.name
        self.provider = engine.provider
        self.requires = engine.requires
        self.install = engine.install
        self.kill_after_s = engine.kill_after_s
        self._engine = engine

    def models(self) -> tuple[OfferedModel, ...]:
        """Its cards."""
        return tuple(self._engine.cards())
