"""Starts engine processes, and keeps one warm: the next of the engine that was evicted last."""

from __future__ import annotations

from collections import Counter

import structlog

from aistack.run.process import EngineProcess, EngineSettings

log = structlog.get_logger("aistack.runner")


class Spares:
    """All on the loop. Unless `keep`, no process is kept warm."""

    def __init__(self, keep: bool) -> None:
        self.warm: EngineProcess | None = None
        """The spare: it has imported its libraries and loaded nothing."""
        self.started: Counter[str] = Counter()
        """Processes started, by engine."""
        self._keep = keep

    async def take(self, settings: EngineSettings) -> EngineProcess:
        """The spare if it is of this engine, else a new process. Raises OSError."""
        spare = self.warm
        if spare is not None and spare.backend == settings.name and not spare.died.is_set():
            self.warm = None
            return spare
        return await self._spawn(settings)

    async def renew(self, settings: EngineSettings) -> None:
        """Start the engine's next process, import only; the spare of another engine goes."""
        old = self.warm
        if old is not None:
            if old.backend == settings.name and not old.died.is_set():
                return
            self.warm = None
            await old.reap("cpu")
        if not self._wants_one():
            return
        try:
            spare = await self._spawn(settings)
        except OSError:
            log.exception("spare process could not be started", engine=settings.name)
            return
        if not self._wants_one():
            await spare.reap("cpu")
            return
        spare.send("warm")
        self.warm = spare

    def close(self) -> None:
        """Start no more spares."""
        self._keep = False

    def _wants_one(self) -> bool:
        return self._keep and self.warm is None

    async def _spawn(self, settings: EngineSettings) -> EngineProcess:
        process = await EngineProcess.spawn(settings)
        self.started[settings.name] += 1
        return process
