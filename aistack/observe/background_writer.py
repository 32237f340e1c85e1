"""A thread that writes what others hand over, so that nobody waits for a disk or for a reader.

The thread is woken once for all that comes within a moment, not once an item: waking it costs its
caller several times what the item does. So a process that is killed may take its last moment along;
an ordinary end writes everything.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

import structlog

log = structlog.get_logger("aistack.observe")

T = TypeVar("T")


class _Mark(threading.Event):
    """Stands in the queue; set once all that was put before it is dealt with."""


class BackgroundWriter(Generic[T]):
    """A bounded queue and the daemon thread that empties it. `put` never blocks and never raises.

    `write` is given up to `batch` items in their order, in the thread; what it raises over is lost.
    An item may wait `linger_s` for others, unless it is put in a hurry or fills a batch. `room` is how
    many may wait or be in writing; what does not fit is lost. `chore` is done in the thread when it
    starts and every `chore_s` seconds. The thread starts with the first item, or by `start`.
    """

    def __init__(
        self,
        name: str,
        write: Callable[[list[T]], None],
        room: float = math.inf,
        batch: int = 1,
        linger_s: float = 0.0,
        chore: Callable[[], None] | None = None,
        chore_s: float = math.inf,
    ) -> None:
        self.lost = 0
        """Items that did not fit or could not be written, since the start."""
        self._name = name
        self._write = write
        self._room = room
        self._batch = batch
        self._linger_s = linger_s
        self._chore = chore
        self._chore_s = chore_s
        self._waiting: deque[T | _Mark] = deque()
        self._writing = 0
        self._some = threading.Event()
        """There is something to take. Set after it was put, cleared before it is taken."""
        self._hurry = threading.Event()
        """It may not wait for more."""
        self._end = _Mark()
        self._closed = False
        self._thread: threading.Thread | None = None
        # One that its holder may take again: a finalizer may log in the middle of anything.
        self._lock = threading.RLock()

    def put(self, item: T, hurry: bool = False) -> bool:
        """Hand an item over; False if it is lost. From any thread."""
        waiting = len(self._waiting)
        if self._closed or waiting + self._writing >= self._room:
            self.lose(1)
            return False
        if self._thread is None:
            self.start()
        self._append(item, hurry or waiting + 1 >= self._batch)
        return True

    def lose(self, count: int) -> None:
        """Count this many as lost. From any thread."""
        with self._lock:
            self.lost += count

    def start(self) -> None:
        """Start the thread, if it was not."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def flush(self, limit_s: float) -> bool:
        """Wait until all that was put so far is written or lost; whether it was within the limit."""
        if self._thread is None or self._end.is_set():
            return True
        reached = _Mark()
        self._append(reached, hurry=True)
        return reached.wait(limit_s)

    def close(self, limit_s: float) -> None:
        """Take nothing more, write what waits, `limit_s` at most, and end the thread."""
        if self._closed:
            return
        self._closed = True
        if self._thread is not None:
            self._append(self._end, hurry=True)
            self._thread.join(limit_s)

    def _append(self, item: T | _Mark, hurry: bool) -> None:
        self._waiting.append(item)
        if hurry and not self._hurry.is_set():
            self._hurry.set()
        if not self._some.is_set():
            self._some.set()

    # --- the thread ----------------------------------------------------------------------------------

    def _run(self) -> None:
        due = time.monotonic() if self._chore is not None else math.inf
        while not self._end.is_set():
            if self._chore is not None and time.monotonic() >= due:
                try:
                    self._chore()
                except Exception:
                    log.exception("background work failed", thread=self._name)
                due = time.monotonic() + self._chore_s
            if self._some.wait(None if due == math.inf else max(0.0, due - time.monotonic())):
                self._hurry.wait(self._linger_s)
                self._hurry.clear()
                self._some.clear()
                self._drain()

    def _drain(self) -> None:
        """Write all that waits, a batch at a time."""
        while self._waiting:
            items: list[T] = []
            mark: _Mark | None = None
            while self._waiting and mark is None and len(items) < self._batch:
                self._writing += 1  # before it is taken: the two together are never too few
                item = self._waiting.popleft()
                if isinstance(item, _Mark):
                    mark = item
                else:
                    items.append(item)
            if items:
                try:
                    self._write(items)
                except Exception:  # noqa: BLE001 - whatever one batch holds must not end the thread
                    self.lose(len(items))
            self._writing = 0
            if mark is not None:
                mark.set()
