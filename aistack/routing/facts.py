"""What routing knows of the engines and of this machine: plain values. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, field, frozen

from aistack.engines.base import AutoRules, OfferedModel
from aistack.jobs.model import Route


@frozen
class EngineFacts:
    """What one engine says of itself (see `engines.base.EngineInfo`), and whether it is `installed`.

    `models` are all of its models, the default one first. `takes_directories`: those of `models.local`
    are for it. `fetches`: it can bring weights from a hub; one that cannot has them or never will.
    """

    installed: bool
    provider: str
    install: str
    models: tuple[OfferedModel, ...] = ()
    auto: AutoRules = field(factory=AutoRules)
    family: str = ""
    takes_directories: bool = False
    fetches: bool = True
    interleaves: bool = False

    @property
    def listed(self) -> tuple[OfferedModel, ...]:
        """The models that /v1/models shows while the engine is installed."""
        return tuple(model for model in self.models if model.listed)

    @property
    def transcribing(self) -> tuple[OfferedModel, ...]:
        """The models that turn speech into text, the default one first."""
        return tuple(model for model in self.models if model.capability == "asr")

    @property
    def default(self) -> OfferedModel:
        """The model that `auto` and the family's name mean. Raises LookupError if none transcribes."""
        return self.transcribing[0]

    def model(self, id: str) -> OfferedModel:
        """One of its models; a directory of the operator's is like the default one."""
        for model in self.transcribing:
            if model.id == id:
                return model
        return evolve(self.default, id=id)


@frozen
class Facts:
    """What is here right now.

    `engines` are offered, `others` are known and not offered (switched off, or left out at start-up),
    both in the order in which equals are tried. `on_disk`: ids whose weights need no download.
    `fetchable`: the hub answers. `local`: directories by id. `aliases`: names that stand for others.
    `disabled`: engines switched off.
    """

    engines: Mapping[str, EngineFacts] = field(factory=dict)
    on_disk: frozenset[str] = frozenset()
    fetchable: bool = False
    local: Mapping[str, str] = field(factory=dict)
    aliases: Mapping[str, str] = field(factory=dict)
    disabled: frozenset[str] = frozenset()
    others: Mapping[str, EngineFacts] = field(factory=dict)

    @property
    def known(self) -> Mapping[str, EngineFacts]:
        """All engines, the offered ones first."""
        return {**self.engines, **self.others}


@frozen
class Chosen:
    """Who serves a request. `hint` is the language as engines want it; `streams`: without downgrade."""

    route: Route
    hint: str | None
    streams: bool

    @property
    def model_id(self) -> str:
        return self.route.model
