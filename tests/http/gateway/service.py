"""The assembled service on a loop and a thread of its own, and the gates of its fake engines.

Tests are plain functions with a blocking client: what a consumer has. Whatever they wait for is an
event of the service (a transition, an engine at a gate), within a bound.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from aistack.config import (
    Config,
    Engines,
    Models,
    Server,
    Slots,
)
from aistack.config.backends import (
    InferenceSection,
    OllamaSection,
    ParakeetSection,
    QwenTtsSection,
    SensevoiceSection,
)
from aistack.config.observability import ObservabilitySection
from aistack.jobs.model import Snapshot, Transition
from aistack.service.app import listen, make_runner
from aistack.service.assembly import assemble
from aistack.web.keys import INVENTORY, SCHEDULER
from tests.http.gateway.client import BOUND_S, Answer, Call, Client, acts


class Gates:
    """Where fake engines stop and wait; a listening socket and a thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waiting: dict[str, queue.SimpleQueue[socket.socket]] = {}
        self._known = threading.Lock()
        self._all: list[socket.socket] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._accept, name="gates")
        self._thread.start()

    def _accept(self) -> None:
        while True:
            gate, _ = self._socket.accept()
            self._all.append(gate)
            with gate.makefile("r") as lines:
                name = lines.readline().strip()
            if not name:
                return
            self._queue(name).put(gate)

    def _queue(self, name: str) -> queue.SimpleQueue[socket.socket]:
        with self._known:
            return self._waiting.setdefault(name, queue.SimpleQueue())

    def entered(self, name: str = "a") -> Callable[[], None]:
        """Wait until an engine stands at the gate; what comes back opens it."""
        gate = self._queue(name).get(timeout=BOUND_S)

        def let_pass() -> None:
            gate.sendall(b"!")
            gate.close()

        return let_pass

    def clear(self) -> None:
        """Forget engines that an earlier test left standing."""
        with self._known:
            self._waiting.clear()

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(str(self.path))
            last.sendall(b"\n")
        self._thread.join(BOUND_S)
        self._socket.close()
        for gate in self._all:
            gate.close()


class Service:
    """A running service as its operator sees it; `client` is a consumer's view of it."""

    def __init__(
        self,
        config: Config,
        engines: Mapping[str, str] | None,
        relays: bool = False,
        bound_s: float = BOUND_S,
    ) -> None:
        self.bound_s = bound_s
        self.transitions: list[Transition] = []
        self.changed = threading.Condition()
        self._ready = threading.Event()
        self._failed: BaseException | None = None
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(
            target=self._main, args=(config, engines, relays), name="service"
        )
        self.spool = Path(config.server.spool_dir)
        self.port = 0
        self._thread.start()
        assert self._ready.wait(self.bound_s)
        if self._failed is not None:
            raise self._failed
        self.client = Client(self.port, bound_s=self.bound_s)

    def _main(self, config: Config, engines: Mapping[str, str] | None, relays: bool) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve(config, engines, relays))
        except BaseException as exc:  # noqa: BLE001 - handed to the thread that waits for the start
            self._failed = exc
        finally:
            self._loop.close()
            self._ready.set()

    async def _serve(self, config: Config, engines: Mapping[str, str] | None, relays: bool) -> None:
        self.app = assemble(config, [self._note], engines, relays)
        runner = make_runner(self.app)
        await runner.setup()
        try:
            await listen(runner, config.server.listen)
            self.port = runner.addresses[0][1]
            self._ready.set()
            await self._stop.wait()
        finally:
            await runner.cleanup()

    def _note(self, transition: Transition) -> None:
        with self.changed:
            self.transitions.append(transition)
            self.changed.notify_all()

    # --- looking and waiting --------------------------------------------------------------------------

    @property
    def snapshot(self) -> Snapshot:
        return self.app[SCHEDULER].snapshot

    @property
    def inventory(self) -> Any:
        return self.app[INVENTORY]

    def reached(self, state: str, since: int = 0) -> Transition:
        """The first transition into `state` from the `since`-th transition on, waited for."""

        def found() -> Transition | None:
            return next((t for t in self.transitions[since:] if t.target.value == state), None)

        with self.changed:
            assert self.changed.wait_for(lambda: found() is not None, self.bound_s)
            transition = found()
        assert transition is not None
        return transition

    def path_of(self, since: int) -> list[str]:
        """The states the jobs since then went through."""
        return [transition.target.value for transition in self.transitions[since:]]

    def ended(self, since: int) -> str:
        """How the first job since then ended, waited for."""
        outcome = self.reached("done", since).job.outcome
        assert outcome is not None
        return outcome.ended.value

    @property
    def mark(self) -> int:
        """How many transitions there were so far."""
        return len(self.transitions)

    def call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(self.bound_s)

    def quiet(self) -> None:
        """Wait until no job is in the book."""
        scheduler: Any = self.app[SCHEDULER]
        self.call(scheduler.quiet())

    @property
    def spooled(self) -> list[str]:
        return os.listdir(self.spool)

    # --- what every test does --------------------------------------------------------------------------

    def play(self, *script: dict[str, Any], **fields: Any) -> Answer:
        """Transcribe a script of the fake engines."""
        return self.client.transcribe(acts(*script), **fields)

    def begin(self, *script: dict[str, Any], **fields: Any) -> Call:
        return self.client.send(acts(*script), **fields)

    def listed(self) -> dict[str, dict[str, Any]]:
        """The entries of /v1/models by id."""
        return {entry["id"]: entry for entry in self.client.get("/v1/models").json["data"]}

    def drain(self) -> None:
        """Begin the end of the service; returns at once."""
        self._loop.call_soon_threadsafe(self._stop.set)

    def close(self) -> None:
        with suppress(RuntimeError):  # its loop is closed: a drain has ended it already
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(self.bound_s)
        assert not self._thread.is_alive()
        assert self.spooled == []


def config(folder: Path, /, **sections: Any) -> Config:
    """A service on a free port, on the processor, with its uploads in `folder`.

    Sections are replaced member by member: `server={...}`, `slots={...}`, `engines={...}`.
    """
    spool = folder / "spool"
    spool.mkdir(parents=True, exist_ok=True)
    server = {"listen": ("127.0.0.1:0",), "spool_dir": str(spool), "drain_grace_s": 0.1}
    slots = {"devices": ("cpu",), "idle_unload_s": 0}
    engines = {"spare": "off", "nice": 0}
    return Config(
        server=Server(**(server | sections.get("server", {}))),
        slots=Slots(**(slots | sections.get("slots", {}))),
        engines=Engines(**(engines | sections.get("engines", {}))),
        models=Models(**sections.get("models", {})),
        ollama=OllamaSection(**sections.get("ollama", {})),
        qwen_tts=QwenTtsSection(**sections.get("qwen_tts", {})),
        inference=InferenceSection(**sections.get("inference", {})),
        parakeet=ParakeetSection(**sections.get("parakeet", {})),
        sensevoice=SensevoiceSection(**sections.get("sensevoice", {})),
        observability=ObservabilitySection(**sections.get("observability", {})),
    )


@contextmanager
def running(
    folder: Path,
    targets: Mapping[str, str] | None = None,
    /,
    *,
    relays: bool = False,
    bound_s: float = BOUND_S,
    **sections: Any,
) -> Iterator[Service]:
    """A service for one test; `targets` are its engines by name, all real ones if not given."""
    service = Service(config(folder, **sections), targets, relays, bound_s)
    try:
        yield service
    finally:
        service.close()


class Loads:
    """What the fake engines do at their next loads, by model id."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, **acts_of: list[dict[str, Any]]) -> None:
        self.path.write_text(json.dumps({model.replace("_", "-"): a for model, a in acts_of.items()}))

    def clear(self) -> None:
        self.path.write_text("{}")
