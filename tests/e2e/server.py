"""`aistack serve` in a process of its own: its log, its gates, and what it must look like at rest."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from attrs import frozen

from tests.doubles.web import get
from tests.e2e.talk import BOUND_S, SAY, WAIT, Said, Talk, say, script

ROOT = Path(__file__).resolve().parents[2]
AUDIO = ROOT / "tests" / "data" / "audio"
TINY = ROOT / "tests" / "data" / "models" / "tiny-whisper-digits"
POOL = min(32, (os.cpu_count() or 1) + 4)
"""Threads of the interpreter's default pool: started when first needed, kept for ever."""
LOOK_S = 0.02

CONFIG = """
[server]
spool_dir = "{spool}"
drain_grace_s = {grace}
max_upload_bytes = {limit}

[slots]
devices = ["cpu"]
idle_unload_s = 0

[engines]
spare = "off"
nice = 0
threads = 1
kill_after_s = 0.3
stall_s = {stall}

[models.local]
whisper-small = "{tiny}"
"org/digits" = "{tiny}"

[log]
level = "debug"
format = "json"
"""


def until(holds: Callable[[], bool], what: str, bound_s: float = BOUND_S) -> None:
    """Look again and again at a fact outside this process that no event tells; bounded."""
    end = time.monotonic() + bound_s
    while not holds():
        assert time.monotonic() < end, f"not within {bound_s:g} s: {what}"
        threading.Event().wait(LOOK_S)


class Gates:
    """The other side of the fake engines' gates."""

    def __init__(self, path: Path) -> None:
        self._at: dict[str, queue.Queue[socket.socket]] = {}
        self._came: list[socket.socket] = []
        self._lock = threading.Lock()
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(16)
        threading.Thread(target=self._accept, name="gates", daemon=True).start()

    def _queue(self, name: str) -> queue.Queue[socket.socket]:
        with self._lock:
            return self._at.setdefault(name, queue.Queue())

    def _accept(self) -> None:
        while True:
            try:
                engine, _ = self._server.accept()
            except OSError:
                return
            with engine.makefile("r", encoding="utf-8") as reader:
                name = reader.readline().strip()
            self._came.append(engine)
            self._queue(name).put(engine)

    def entered(self, name: str) -> socket.socket:
        """Wait until an engine stands at the gate."""
        return self._queue(name).get(timeout=BOUND_S)

    @staticmethod
    def let_pass(engine: socket.socket) -> None:
        """Open the gate for the engine that stands there (it may have gone meanwhile)."""
        with contextlib.closing(engine), contextlib.suppress(BrokenPipeError):
            engine.sendall(b"!")

    def clear(self) -> None:
        """Nobody stands at a gate any more."""
        self._at.clear()
        while self._came:
            self._came.pop().close()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # wakes accept() where the system does that
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.clear()


class Log:
    """The JSON lines of the service, as they come; anything else on stdout is a failure."""

    def __init__(self, stream: Any) -> None:
        self.lines: list[dict[str, Any]] = []
        self.raw: list[str] = []
        self._changed = threading.Condition()
        self._stream = stream
        self.thread = threading.Thread(target=self._read, name="log", daemon=True)
        self.thread.start()

    def _read(self) -> None:
        for text in self._stream:
            with self._changed:
                try:
                    self.lines.append(json.loads(text))
                except ValueError:
                    self.raw.append(text)
                self._changed.notify_all()

    def find(self, message: str, **fields: Any) -> list[dict[str, Any]]:
        """The lines so far with this message and these fields."""
        wanted = {"message": message, **fields}
        with self._changed:
            return [line for line in self.lines if wanted.items() <= line.items()]

    def wait(
        self, message: str, count: int = 1, bound_s: float = BOUND_S, **fields: Any
    ) -> dict[str, Any]:
        """Wait for the n-th such line."""
        with self._changed:
            came = self._changed.wait_for(lambda: len(self.find(message, **fields)) >= count, bound_s)
        assert came, f"no line {message} {fields} (x{count})"
        return self.find(message, **fields)[count - 1]


@frozen
class Vitals:
    """What a leak would change. `engines` are the processes below the gateway; `threads` those that
    are more than the pool at its largest accounts for (its threads start when first needed)."""

    descriptors: int
    threads: int
    engines: int
    spooled: int


class Server:
    """One running service."""

    def __init__(self, folder: Path, process: subprocess.Popen[str], gates: Gates) -> None:
        self.folder = folder
        self.spool = folder / "spool"
        self.process = process
        self.gates = gates
        self.log = Log(process.stdout)
        listening = self.log.wait("listening")
        self.port = int(listening["addresses"][0].rpartition(":")[2])
        self.url = f"http://127.0.0.1:{self.port}"
        self.me = psutil.Process(process.pid)
        self.most_threads = self.me.num_threads() + POOL
        self.probe = script(*SAY, headers=WAIT)
        self.normal = Vitals(0, 0, 0, 0)
        self._talks: list[Talk] = []

    # --- asking ----------------------------------------------------------------------------------------

    def begin(self, request: bytes) -> Talk:
        """Send a request on a connection of its own, which is closed after the test at the latest."""
        talk = Talk(self.port)
        self._talks.append(talk)
        return talk.send(request)

    def say(self, request: bytes) -> Said:
        return say(self.port, request)

    def done(self, request_id: str) -> dict[str, Any]:
        """The one job.done line of a request."""
        line = self.log.wait("job.done", request_id=request_id)
        assert len(self.log.find("job.done", request_id=request_id)) == 1
        return line

    def loads(self, model: str, *acts: dict[str, Any]) -> None:
        """Script what the next loads of `model` do; no acts: nothing special."""
        path = self.folder / "loads.json"
        if acts:
            path.write_text(json.dumps({model: acts}))
        else:
            path.unlink(missing_ok=True)

    @property
    def engines(self) -> list[psutil.Process]:
        return self.me.children(recursive=True)

    def settle(self) -> None:
        """Wait until every line so far has come: lines of a moment are written together, in order."""
        name = f"settled-{secrets.token_hex(8)}"
        self.say(get(f"/v1/models/{name}", **{"X-Request-ID": name}))
        self.log.wait("http.access", request_id=name)

    # --- at rest ---------------------------------------------------------------------------------------

    def vitals(self) -> Vitals:
        return Vitals(
            self.me.num_fds(),
            max(0, self.me.num_threads() - self.most_threads),
            len(self.engines),
            len(os.listdir(self.spool)),
        )

    def unconnected(self) -> bool:
        """Whether the gateway has seen every client go."""
        return all(each.status == psutil.CONN_LISTEN for each in self.me.net_connections("tcp"))

    def warm(self) -> None:
        """Bring everything up that stays up, and remember how the service looks at rest."""
        assert self.say(self.probe).status == 200
        self.settle()
        until(lambda: os.listdir(self.spool) == [] and self.unconnected(), "rest")
        self.normal = self.vitals()

    def check(self) -> None:
        """The next request works, and nothing has been left behind."""
        self._hang_up()
        assert self.process.poll() is None, "the gateway is gone"
        said = self.say(self.probe)
        assert (said.status, said.complete) == (200, True), said.body
        self.settle()
        with contextlib.suppress(AssertionError):
            until(lambda: self.vitals() == self.normal, "as before", 10)
        assert self.vitals() == self.normal
        assert self.log.raw == []

    def _hang_up(self) -> None:
        """What a failed test may have left open."""
        while self._talks:
            self._talks.pop().close()
        self.gates.clear()

    # --- the end ---------------------------------------------------------------------------------------

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Signal, and wait for the exit; the exit code."""
        self.process.send_signal(how)
        return self.process.wait(BOUND_S)

    def close(self) -> None:
        self._hang_up()
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in [*self.engines, self.me]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self.process.wait(BOUND_S)
        self.gates.close()
        self.log.thread.join(BOUND_S)
        self.process.stdout.close()  # type: ignore[union-attr]


@contextlib.contextmanager
def serving(
    *,
    fake: bool = True,
    grace_s: float = 0.5,
    stall_s: float = 60.0,
    limit: int = 2**30,
    environ: Mapping[str, str] | None = None,
    flags: Sequence[str] = (),
) -> Iterator[Server]:
    """A server on a free port, with the scripted engine or the real ones; `environ` are settings,
    `flags` more of the command line."""
    folder = Path(tempfile.mkdtemp(prefix="aistack_e2e_"))
    gates = Gates(folder / "g")
    config = folder / "aistack.toml"
    (folder / "spool").mkdir()
    config.write_text(
        CONFIG.format(spool=folder / "spool", tiny=TINY, grace=grace_s, stall=stall_s, limit=limit)
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("AISTACK_")}
    env |= {
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "AISTACK_FAKE_GATES": str(folder / "g"),
        "AISTACK_FAKE_LOADS": str(folder / "loads.json"),
        **(environ or {}),
    }
    command = [sys.executable, "-m", "aistack", "serve", "--config", str(config), "--port", "0"]
    server = None
    with (folder / "stderr").open("w") as stderr:
        process = subprocess.Popen(
            [*command, *(["--fake"] if fake else []), *flags],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=env,
            cwd=folder,
        )
        try:
            server = Server(folder, process, gates)
            yield server
        finally:
            if server is not None:
                server.close()
            else:
                process.kill()
                process.wait(BOUND_S)
                gates.close()
            shutil.rmtree(folder, ignore_errors=True)
