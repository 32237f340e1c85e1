"""The two protocols a backend fulfils, and what engines share.

Backends know nothing of HTTP, slots or jobs. An Engine is plain, synchronous code that runs in a
process of its own; a Relay is asynchronous and runs on the loop. A backend's module must import in
milliseconds: heavy libraries are imported inside `warm` and `load`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from typing import Any, Protocol

from attrs import evolve, frozen

from aistack.chunks import (
    Chunk,
    ModelSpec,
    Notice,
    Progress,
    Result,
    Segment,
    Transcript,
    Vram,
    Word,
    separator,
)
from aistack.errors import Code, ErrorKind, Fault
from aistack.installing import here

Report = Callable[[Progress], None]
"""How a load tells that it is alive and how far."""

Yielded = Chunk | Progress


class CancelToken(Protocol):
    """Looked at between any two chunks (and wherever else an engine can stop)."""

    def is_set(self) -> bool: ...


@frozen
class ModelCard:
    """One model a backend offers, as `/v1/models` tells it.

    `languages` are primary subtags, empty where the question makes no sense; `max_seconds` is the
    longest audio accepted, none for no limit; `created` is unix seconds.
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


class Engine(Protocol):
    """A model runner of ours. Constructed with no arguments, in its child and in the gateway."""

    name: str
    """Key in ROLL, configuration and logs."""
    provider: str
    """What a consumer reads in `error.provider`."""
    requires: tuple[str, ...]
    """Top-level modules that must be importable."""
    kill_after_s: float
    """How long a cancelled run may take to obey before its process is killed."""

    @property
    def install(self) -> str:
        """The command that installs them, as `pip install ...`; the interpreter is added where it
        is shown (`installing.here`)."""
        ...

    def cards(self) -> tuple[ModelCard, ...]:
        """The models to list."""
        ...

    def warm(self) -> None:
        """Import the heavy libraries; nothing else."""
        ...

    def load(self, model: ModelSpec, report: Report) -> None:
        """Make the model ready. Raises whatever the library raises, or BackendFault."""
        ...

    def run(self, request: Any, cancel: CancelToken) -> Generator[Yielded, None, Result]:
        """Yield chunks (and Progress) and return the result. Stops early once `cancel` is set."""
        ...

    def kind_of(self, exc: BaseException) -> ErrorKind | None:
        """What kind a foreign exception is; none if this engine does not know it."""
        ...


class Fetches(Protocol):
    """What an engine also has whose weights come from a hub."""

    def fetch(self, model: ModelSpec, report: Report) -> None:
        """Bring the weights onto the disk, where `load` will find them; imports no heavy library.
        Raises whatever the hub's library raises, or BackendFault."""
        ...


class Relay(Protocol):
    """Someone else's server, reached over HTTP. Runs on the loop; closing its generator cancels it."""

    name: str
    provider: str

    @property
    def vram(self) -> Vram:
        """Where its memory is; a relay may learn this of its upstream."""
        ...

    def run(self, request: Any) -> AsyncGenerator[Any, None]:
        """Yield Head, then Pieces; the last item may be a Tail. Raises BackendFault."""
        ...

    async def evict(self) -> None:
        """Give the card's memory back, verified and bounded; never raises."""
        ...

    def kind_of(self, exc: BaseException) -> ErrorKind | None: ...


def missing(engine: Engine) -> Fault:
    """The 503 for a model whose library is not installed."""
    return Fault(
        ErrorKind.NETWORK,
        Code.BACKEND_MISSING,
        f"{engine.provider} is not installed on this server. Install it with: {here(engine.install)}",
        engine.provider,
    )


def spaced(
    run: Iterator[Yielded] | Generator[Yielded, None, Result],
) -> Generator[Yielded, None, Result]:
    """The same run with every segment's `lead` filled in, empty segments dropped, and the text joined.

    The one place that decides what stands between two segments, so that joined deltas are the text
    in every format.
    """
    texts: list[str] = []
    before = ""
    generator = iter(run)
    try:
        while True:
            try:
                item = next(generator)
            except StopIteration as stop:
                result: Result = stop.value
                break
            if isinstance(item, Segment):
                text = item.text.strip()
                if not text:
                    continue
                item = evolve(item, text=text, lead=separator(before, text))
                texts.append(item.lead + text)
                before = text
            yield item
    finally:
        close = getattr(generator, "close", None)
        if close is not None:
            close()
    if isinstance(result, Transcript):
        return evolve(result, text="".join(texts), segments=len(texts))
    return result


def as_one(run: Generator[Yielded, None, Result], model: str) -> Generator[Yielded, None, Result]:
    """Downgrade a run that cannot stream: the notice first, then one segment with the whole text."""
    yield Notice(
        "streaming_not_supported",
        model,
        f"{model} does not stream: the whole transcript comes as one event. "
        "Models with supports_streaming in /v1/models do.",
    )
    texts: list[str] = []
    words: list[Word] = []
    while True:
        try:
            item = next(run)
        except StopIteration as stop:
            result: Result = stop.value
            break
        if isinstance(item, Segment):
            text = item.text.strip()
            if text:
                texts.append(separator(texts[-1] if texts else "", text) + text)
            words.extend(item.words or ())
        else:
            yield item
    end = result.duration if isinstance(result, Transcript) else 0.0
    if texts:
        yield Segment(0.0, end, "".join(texts), tuple(words))
    return result
