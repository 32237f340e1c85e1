"""What an engine is: what it says of itself, and what its process does. And what a relay is.

Backends know nothing of HTTP, slots or jobs. An Engine is plain, synchronous code that runs in a
process of its own; a Relay is asynchronous and runs on the loop. An engine is also constructed in the
gateway's own process, which asks it only what `EngineInfo` has. So its module must import in
milliseconds: heavy libraries are imported inside `warm` and `load`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping
from enum import Enum
from typing import Protocol, TypeVar, runtime_checkable

from attrs import frozen

from aistack.chunks import (
    Chunk,
    EngineRequest,
    Head,
    ModelSpec,
    Piece,
    Progress,
    Report,
    Result,
    Tail,
    Vram,
)
from aistack.config.installing import here
from aistack.errors import ErrorKind, Fault, not_installed

Yielded = Chunk | Progress
RelayItem = Head | Piece | Tail
"""What a relay yields."""

RequestT = TypeVar("RequestT", bound=EngineRequest, contravariant=True)
UpstreamRequestT = TypeVar("UpstreamRequestT", contravariant=True)


class CancelToken(Protocol):
    """Looked at between any two chunks (and wherever else an engine can stop)."""

    def is_set(self) -> bool: ...


# --- what an engine says of itself -------------------------------------------------------------------


@frozen
class OfferedModel:
    """One model that an engine or a server offers, as `/v1/models` shows it.

    `capability` is "asr", "tts" or "llm"; `languages` are primary subtags, empty where the question
    makes no sense; `max_seconds` is the longest audio accepted, None for no limit; `created` is unix
    seconds. `source` is what the engine's library is given for it (empty: the id), and `names` are what
    else a client may call it, in lower case. A model that is not `listed` is still served to a
    client that names it.
    """

    id: str
    owned_by: str
    capability: str
    languages: tuple[str, ...] = ()
    supports_streaming: bool = True
    translate: bool = False
    word_timestamps: bool = True
    max_seconds: float | None = None
    created: int = 0
    source: str = ""
    names: tuple[str, ...] = ()
    listed: bool = True


@frozen
class AutoRules:
    """What `model=auto` may use an engine for.

    Without any rule it may serve the languages of its default model, after every engine that goes first
    for them; among equals, engines of aistack come before those of other packages.

    `first_for`: languages for which it goes first. `first_otherwise`: it goes first for all languages
    of its own for which no engine does, and where there is no hint. `last_resort`: it serves only where
    no other engine can, only its own languages or no hint, and never translates. `stand_ins`: ids, best
    first, that may serve where only their weights are on the disk; `not_translating` are those of them
    that answer in the language they hear.
    """

    first_for: tuple[str, ...] = ()
    first_otherwise: bool = False
    last_resort: bool = False
    stand_ins: tuple[str, ...] = ()
    not_translating: tuple[str, ...] = ()


class OperatorModels(Enum):
    """Which directories of weights the operator adds to the models of an engine."""

    NONE = "none"
    LOCAL = "models.local"
    """Those in the setting `models.local`, by the id they are served under."""
    TAGS = "inference.root"
    """Those below the setting `inference.root`, by the folder's name: see `/models`."""


@runtime_checkable
class EngineInfo(Protocol):
    """What the gateway asks an engine, in its own process. Constructed with no arguments."""

    name: str
    """Key in `aistack.engines.ENGINES`, configuration and logs."""
    provider: str
    """What a consumer reads in `error.provider`."""
    requires: tuple[str, ...]
    """Top-level modules that must be importable."""
    kill_after_s: float
    """How long a cancelled run may take to stop before its process is killed."""
    interleaves: bool
    """Whether runs of two requests may take turns, segment by segment, in one process: `run` may be
    called again while the generator of another run is suspended. False: one run at a time."""
    auto: AutoRules
    """What `model=auto` may use it for."""
    family: str
    """A word: any model name that contains it means the default model. Empty: there is none."""
    operator_models: OperatorModels
    """Which directories of weights the operator adds to `models`."""

    @property
    def install(self) -> str:
        """The command that installs them, as `pip install ...`; whoever shows it adds the interpreter
        (`config.installing.here`)."""
        ...

    def models(self) -> tuple[OfferedModel, ...]:
        """The models it has, the default one first."""
        ...

    def weights(self, model: ModelSpec, environ: Mapping[str, str]) -> bool:
        """Whether `model` could be loaded without any network; it need not be one of `models`.

        Milliseconds: looks at the disk, imports nothing. `model.options` are those of `load`.
        """
        ...


class EngineDefaults:
    """What most engines say of themselves: inherit it, and write down only what differs."""

    requires: tuple[str, ...] = ()
    kill_after_s: float = 1.0
    interleaves: bool = False
    auto: AutoRules = AutoRules()
    family: str = ""
    operator_models: OperatorModels = OperatorModels.NONE

    def weights(self, model: ModelSpec, environ: Mapping[str, str]) -> bool:
        """The weights come with the library: there is nothing to fetch."""
        return True

    def kind_of(self, exc: BaseException) -> ErrorKind | None:
        """No exception is known: each is a bug, or its type says enough (MemoryError)."""
        return None


# --- what its process does ---------------------------------------------------------------------------


class Engine(EngineInfo, Protocol[RequestT]):
    """A model runner, for one type of request."""

    def warm(self) -> None:
        """Import the heavy libraries; nothing else."""
        ...

    def load(self, model: ModelSpec, report: Report) -> None:
        """Make the model ready. Raises whatever the library raises, or BackendFault."""
        ...

    def run(self, request: RequestT, cancel: CancelToken) -> Generator[Yielded, None, Result]:
        """Yield chunks (and Progress) and return the result. Stops early once `cancel` is set."""
        ...

    def kind_of(self, exc: BaseException) -> ErrorKind | None:
        """What kind a foreign exception is; None if this engine does not know it."""
        ...


@runtime_checkable
class Fetches(Protocol):
    """What an engine also has whose weights come from a hub."""

    def fetch(self, model: ModelSpec, report: Report) -> None:
        """Bring the weights onto the disk, where `load` will find them; imports no heavy library.
        Raises whatever the hub's library raises, or BackendFault."""
        ...


class Relay(Protocol[UpstreamRequestT]):
    """Someone else's server, reached over HTTP. Runs on the loop; closing its generator cancels it."""

    name: str
    provider: str

    @property
    def vram(self) -> Vram:
        """Where its memory is; a relay may learn this of its upstream."""
        ...

    def run(self, request: UpstreamRequestT) -> AsyncGenerator[RelayItem, None]:
        """Yield Head, then Pieces; the last item may be a Tail. Raises BackendFault."""
        ...

    async def evict(self) -> None:
        """Give the card's memory back, verified and bounded; never raises."""
        ...

    def kind_of(self, exc: BaseException) -> ErrorKind | None: ...


def missing(engine: EngineInfo) -> Fault:
    """The 503 for a model whose library is not installed."""
    return not_installed(engine.provider, here(engine.install))
