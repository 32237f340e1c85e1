"""An engine process as the gateway sees it: spawn, frames, stderr, exit, and `reap`.

One protocol object per process, fed by the loop's callbacks: no reader task that could leak, and an
exit is seen at once even while a grandchild holds the pipes open.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections import deque
from typing import Any, cast

import structlog
from attrs import frozen

from aistack import __version__
from aistack.run.frames import BrokenFrame, Unpacker, pack
from aistack.run.memory import settle

log = structlog.get_logger("aistack.engine")

LINE_MAX = 8 * 1024
EXIT_S = 5.0
"""How long a killed process group may take to be gone."""
STDERR_S = 0.5
"""How long a dead process's stderr may take to end: a grandchild may hold it open."""
LAST_LINES = 30
"""Lines of stderr since the last order that are remembered: backtraces follow the cause."""
OUT_OF_MEMORY = re.compile(
    r"bad_alloc|memory allocation of|out of memory|cannot allocate memory|alloc\([\d,]+\) failed"
)
"""What C++, Rust, PocketSphinx and others write before they end the process as memory runs out."""
_BREAKS = re.compile(rb"[\r\n]+")


@frozen
class EngineSettings:
    """How one engine's processes are started. `target` is "module:Class"."""

    name: str
    target: str
    provider: str
    python: str
    kill_after_s: float
    stall_s: float
    start_s: float
    nice: int


@frozen
class OurProcess:
    """One process of this service; `device` is its slot's, None for one that holds no slot."""

    pid: int
    engine: str
    device: str | None


class EngineDied(Exception):
    """The process ended, or its frames did, while a step was waiting for it."""


class EngineProcess(asyncio.SubprocessProtocol):
    """One child. `frame()` is awaited by the step that uses it; `died` is set at its end."""

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self.backend = settings.name
        self.died = asyncio.Event()
        self._last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self.busy = False
        self.on_idle_death: Any = None
        self._frames: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._unpacker = Unpacker()
        self._transport: asyncio.SubprocessTransport | None = None
        self._exited = asyncio.Event()
        self._stderr_closed = asyncio.Event()
        self._line = b""
        self._hello: dict[str, Any] | None = None
        self._reaped: asyncio.Task[None] | None = None

    @classmethod
    async def spawn(cls, settings: EngineSettings) -> EngineProcess:
        """Start the process; its hello is awaited by `hello()`. Raises OSError."""
        loop = asyncio.get_running_loop()
        _, process = await loop.subprocess_exec(
            lambda: cls(settings),
            settings.python,
            "-m",
            "aistack.run.child",
            settings.target,
            str(settings.nice),
            start_new_session=True,
        )
        return process

    @property
    def pid(self) -> int:
        return self._transport.get_pid() if self._transport is not None else -1

    @property
    def returncode(self) -> int | None:
        return self._transport.get_returncode() if self._transport is not None else None

    @property
    def ran_out_of_memory(self) -> bool:
        """After `reap`: whether its last lines on stderr say that memory ran out."""
        return any(map(OUT_OF_MEMORY.search, self._last_lines))

    # --- talking --------------------------------------------------------------------------------------

    def send(self, do: str, **fields: Any) -> None:
        """One order. Silently nothing if the process has gone: the step sees that itself."""
        if self._transport is None or self.died.is_set():
            return
        pipe = self._transport.get_pipe_transport(0)
        if pipe is not None:
            self._last_lines.clear()
            cast(asyncio.WriteTransport, pipe).write(pack({"do": do, **fields}))

    async def frame(self, timeout_s: float) -> dict[str, Any]:
        """The next frame. Raises EngineDied, TimeoutError."""
        message = await asyncio.wait_for(self._frames.get(), timeout_s)
        if message is None:
            self._frames.put_nowait(None)
            raise EngineDied
        return message

    async def hello(self) -> dict[str, Any]:
        """The process's first frame. Raises EngineDied, TimeoutError."""
        if self._hello is None:
            self._hello = await self.frame(self.settings.start_s)
        return self._hello

    def agrees(self, hello: dict[str, Any]) -> bool:
        """Whether both sides are of one version."""
        return hello.get("version") == __version__

    # --- the end --------------------------------------------------------------------------------------

    def kill(self) -> None:
        """Kill the whole group: a grandchild would keep memory and pipes."""
        if self._transport is None or self._exited.is_set():
            return
        try:
            if hasattr(os, "killpg"):
                os.killpg(self.pid, signal.SIGKILL)
            else:
                self._transport.kill()
        except (ProcessLookupError, PermissionError):
            pass

    async def reap(self, device: str) -> None:
        """Kill, wait for the exit, wait until the card's memory is back; bounded, never raises.

        Several may ask; it happens once, and a caller that is cancelled does not undo it.
        """
        if self._reaped is None:
            self._reaped = asyncio.get_running_loop().create_task(self._reap_once(device))
        await asyncio.shield(self._reaped)

    async def _reap_once(self, device: str) -> None:
        self.busy = True
        self.kill()
        try:
            await asyncio.wait_for(self._exited.wait(), EXIT_S)
        except TimeoutError:
            log.error("engine process did not exit after a kill", engine=self.backend, pid=self.pid)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stderr_closed.wait(), STDERR_S)
        if self._transport is not None:
            self._transport.close()
        self._end()
        await settle(device)

    # --- the loop's callbacks --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not derived from asyncio's classes
        self._transport = cast(asyncio.SubprocessTransport, transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._stderr(data)
            return
        try:
            for message in self._unpacker.feed(data):
                self._frames.put_nowait(message)
        except BrokenFrame as exc:
            log.error("engine frames are out of step", engine=self.backend, cause=str(exc))
            self.kill()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 1:
            self._end()
        elif fd == 2:
            self._flush_line()
            self._stderr_closed.set()

    def process_exited(self) -> None:
        self._exited.set()
        self._end()

    def _end(self) -> None:
        """The frames are over, once. An idle process that dies is reported by its owner."""
        if self.died.is_set():
            return
        self.died.set()
        self._flush_line()
        self._frames.put_nowait(None)
        if not self.busy and self.on_idle_death is not None:
            self.on_idle_death(self)

    def _stderr(self, data: bytes) -> None:
        """Third-party output as log lines: split at carriage returns too, and capped."""
        *lines, self._line = _BREAKS.split(self._line + data)
        for line in lines:
            self._log_line(line)
        if len(self._line) > LINE_MAX:
            self._flush_line()

    def _flush_line(self) -> None:
        line, self._line = self._line, b""
        self._log_line(line)

    def _log_line(self, line: bytes) -> None:
        text = line[:LINE_MAX].decode("utf-8", "replace").strip()
        if text:
            self._last_lines.append(text.lower())
            log.info("engine output", engine=self.backend, pid=self.pid, line=text)
