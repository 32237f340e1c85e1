"""main() of an engine process: frames in, frames out, one engine, one job at a time.

Imports only the standard library, the pure modules and the backend. fd 0 and 1 are copied before
anything else is imported and then turned away, so that no library can write into the frames: its
prints land on stderr, which the gateway turns into log lines.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading

_FRAMES_IN = os.dup(0) if __name__ == "__main__" else -1
_FRAMES_OUT = os.dup(1) if __name__ == "__main__" else -1
if __name__ == "__main__":
    with open(os.devnull, "rb") as _null:
        os.dup2(_null.fileno(), 0)
    os.dup2(2, 1)

import importlib  # noqa: E402 - after the descriptors are safe
import queue  # noqa: E402
import signal  # noqa: E402
import time  # noqa: E402
import traceback  # noqa: E402
from functools import partial  # noqa: E402
from typing import Any  # noqa: E402

from aistack import __version__  # noqa: E402
from aistack.chunks import Progress, TranscriptionRequest, from_frame, to_frame  # noqa: E402
from aistack.engines.causes import loading  # noqa: E402
from aistack.engines.segments import as_one, spaced  # noqa: E402
from aistack.errors import fault_from  # noqa: E402
from aistack.run.frames import Unpacker, fault_to_frame, pack  # noqa: E402

PR_SET_PDEATHSIG = 1
PROGRESS_S = 0.1


class Child:
    """The engine, its frames, and the token of the job it works on."""

    def __init__(self, target: str, frames_in: int, frames_out: int) -> None:
        self.target = target
        self.frames_in = frames_in
        self.frames_out = frames_out
        self.orders: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.writing = threading.Lock()
        self.cancel = threading.Event()
        self.current: str | None = None
        self.cancelled: str | None = None
        self.warming: threading.Thread | None = None
        self.reported_at = 0.0
        self.unit = ""
        module, _, name = target.partition(":")
        self.engine: Any = getattr(importlib.import_module(module), name)()

    def emit(self, name: str, **fields: Any) -> None:
        """Send one frame, whole."""
        data = memoryview(pack({"say": name, **fields}))
        with self.writing:
            while data:
                data = data[os.write(self.frames_out, data) :]

    def progress(self, job: str, progress: Progress) -> None:
        """Report how far it is, ten times a second at most: engines report as often as they like.

        The start of something new is always reported: a download that is over must not seem to go on.
        """
        now = time.monotonic()
        begins = progress.unit != self.unit
        if begins or now - self.reported_at >= PROGRESS_S or progress.done == progress.total:
            self.reported_at, self.unit = now, progress.unit
            self.emit("progress", job=job, progress=to_frame(progress))

    def read(self) -> None:
        """The reader thread: orders into the queue, cancels into the token; the end ends the process."""
        unpacker = Unpacker()
        while True:
            data = os.read(self.frames_in, 65536)
            if not data:
                os._exit(0)
            for order in unpacker.feed(data):
                if order["do"] == "cancel":
                    self.cancelled = order["job"]
                    if self.current == order["job"]:
                        self.cancel.set()
                else:
                    self.orders.put(order)

    def serve(self) -> None:
        """Carry out orders until the gateway hangs up."""
        threading.Thread(target=self.read, name="frames", daemon=True).start()
        self.emit("hello", version=__version__, target=self.target)
        while True:
            order = self.orders.get()
            if order["do"] == "warm":
                self.warming = threading.Thread(target=self.warm, name="warm", daemon=True)
                self.warming.start()
                continue
            job = order["job"]
            self.cancel.clear()
            self.current = job
            if self.cancelled == job:
                self.cancel.set()
            try:
                if order["do"] == "load":
                    self.load(job, order)
                elif order["do"] == "fetch":
                    self.fetch(job, order)
                else:
                    self.run(job, order)
            except BaseException as exc:  # noqa: BLE001 - anything an engine raises becomes a fault
                fault = fault_from(exc, self.engine.provider, self.engine.kind_of(exc))
                trace = "".join(traceback.format_exception(exc))[-8000:]
                self.emit("failed", job=job, fault=fault_to_frame(fault), trace=trace)
            finally:
                self.current = None

    def warm(self) -> None:
        """Import the libraries in a thread of the lowest priority."""
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        try:
            self.engine.warm()
        except Exception:  # noqa: BLE001 - the load that follows reports it properly
            traceback.print_exc()

    def load(self, job: str, order: dict[str, Any]) -> None:
        """Make the model of the order ready."""
        if self.warming is not None:
            self.warming.join()

        self.engine.load(from_frame(order["model"]), partial(self.progress, job))
        self.emit("loaded", job=job)

    def fetch(self, job: str, order: dict[str, Any]) -> None:
        """Bring the weights of the order's model onto the disk; load nothing."""
        report = partial(self.progress, job)
        with loading(self.engine):
            self.engine.fetch(from_frame(order["model"]), report)
        self.emit("fetched", job=job)

    def run(self, job: str, order: dict[str, Any]) -> None:
        """Run the request, looking at the token between any two chunks."""
        request = from_frame(order["request"])
        self.emit("began", job=job)
        work = self.engine.run(request, self.cancel)
        model = request.downgrade if isinstance(request, TranscriptionRequest) else ""
        run = spaced(as_one(work, model) if model else work)
        while True:
            try:
                item = next(run)
            except StopIteration as stop:
                result = stop.value
                break
            if self.cancel.is_set():
                run.close()
                self.emit("stopped", job=job)
                return
            if isinstance(item, Progress):
                self.progress(job, item)
            else:
                self.emit("chunk", job=job, chunk=to_frame(item))
        if self.cancel.is_set():
            self.emit("stopped", job=job)
        else:
            self.emit("finished", job=job, result=to_frame(result))


def isolate(nice: int) -> None:
    """Ignore the group's signals, die with the gateway, and leave the processor to it."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        import ctypes

        parent = os.getppid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)
    if nice and hasattr(os, "nice"):
        with contextlib.suppress(OSError):
            os.nice(nice)


def main(argv: list[str]) -> None:
    """`python -m aistack.run.child MODULE:CLASS NICE`."""
    isolate(int(argv[1]))
    Child(argv[0], _FRAMES_IN, _FRAMES_OUT).serve()


if __name__ == "__main__":
    main(sys.argv[1:])
