"""A1, A2, A5, A8, A17 with the real command line in a process of its own: what production does."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from aistack import __version__
from tests.http.gateway.client import BOUND_S, Client, acts, types
from tests.http.gateway.service import Gates
from tests.support.listening import HELLO, ROOT
from tests.support.signals import as_at_a_terminal
from tests.unit.test_import_cost import HEAVY

SAY = {"say": "one two", "end": 1}
NO_LIBRARIES = f"""
import sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {sorted(HEAVY)!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Nothing())
from aistack.cli.main import main
sys.exit(main())
"""


class Serve:
    """`aistack serve` and every line it writes."""

    def __init__(self, command: list[str], environ: dict[str, str]) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()
        with as_at_a_terminal():
            self.process = subprocess.Popen(
                [sys.executable, *command],
                env=os.environ | environ,
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line)
                self._changed.notify_all()

    def logged(self, message: str, **fields: Any) -> dict[str, Any]:
        """The first log line with this message and these fields, waited for."""
        wanted = {"message": message, **fields}
        found: list[dict[str, Any]] = []

        def there() -> bool:
            parsed = [json.loads(line) for line in self.lines if line.startswith("{")]
            found[:] = [line for line in parsed if all(line.get(k) == v for k, v in wanted.items())]
            return bool(found)

        with self._changed:
            assert self._changed.wait_for(there, BOUND_S), self.lines
        return found[0]

    def said(self, *words: str) -> str:
        """The first of these words in what it writes, waited for."""
        found: list[str] = []

        def there() -> bool:
            found[:] = [word for word in words if any(word in line for line in self.lines)]
            return bool(found)

        with self._changed:
            assert self._changed.wait_for(there, BOUND_S), self.lines
        return found[0]

    @property
    def addresses(self) -> list[str]:
        listed: list[str] = self.logged("listening")["addresses"]
        return listed

    @property
    def client(self) -> Client:
        host, _, port = self.addresses[0].rpartition(":")
        return Client(int(port), host)

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def wait(self) -> int:
        """The exit code."""
        code = self.process.wait(BOUND_S)
        self._reader.join(BOUND_S)
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


Start = Callable[..., Serve]


@pytest.fixture
def serve(environment: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts the command line, with no configuration but what the test says."""
    started: list[Serve] = []
    (tmp_path / "spool").mkdir()

    def start(*options: str, command: tuple[str, ...] = ("-m", "aistack"), **environ: str) -> Serve:
        settings = {
            "XDG_CONFIG_HOME": str(tmp_path),
            "AISTACK_SERVER__SPOOL_DIR": str(tmp_path / "spool"),
            "AISTACK_LOG__FORMAT": "json",
            **environ,
        }
        started.append(Serve([*command, "serve", *options], settings))
        return started[-1]

    yield start
    for each in started:
        each.close()


def free_port() -> int:
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def test_a1_the_default_address(serve: Start) -> None:
    """Without options it listens there, or says that it cannot because somebody else does."""
    service = serve("--fake")
    if service.said('message": "listening', "Cannot listen") == "Cannot listen":
        assert service.wait() == 1
        assert "Cannot listen on 127.0.0.1:11500: the port is in use" in "".join(service.lines)
    else:
        assert service.addresses == ["127.0.0.1:11500"]
        assert Client(11500).get("/health").json["version"] == __version__


def test_a2_host_and_port_by_option(serve: Start) -> None:
    port = free_port()
    service = serve("--fake", "--host", "127.0.0.1", "--port", str(port))
    assert service.addresses == [f"127.0.0.1:{port}"]
    assert Client(port).get("/health").status == 200


def test_a2_several_addresses_by_environment(serve: Start) -> None:
    ports = free_port(), free_port()
    listen = ",".join(f"127.0.0.1:{port}" for port in ports)
    service = serve("--fake", AISTACK_SERVER__LISTEN=listen)
    assert service.addresses == listen.split(",")
    assert [Client(port).get("/health").status for port in ports] == [200, 200]


def test_a5_a8_without_any_library_it_starts_and_serves(serve: Start) -> None:
    service = serve("--port", "0", command=("-c", NO_LIBRARIES))
    client = service.client
    assert client.get("/health").json["status"] == "ok"
    assert client.get("/v1/models").json == {"object": "list", "data": []}
    answer = client.transcribe(HELLO)
    assert (answer.status, answer.error["kind"]) == (503, "network")
    assert (answer.error["code"], "retry-after" in answer.headers) == ("backend_missing", False)
    named = client.transcribe(HELLO, model="whisper-small")
    assert (named.status, named.error["provider"]) == (503, "Faster-Whisper")
    assert f"{shlex.quote(sys.executable)} -m pip install 'faster-whisper<" in named.error["message"]
    service.process.send_signal(signal.SIGTERM)
    assert service.wait() == 0


def test_a17_who_leaves_is_noticed_in_production_and_logged_with_499(serve: Start, gates: Gates) -> None:
    service = serve("--fake", "--port", "0")
    for way in ("close", "reset", "half_close"):
        for stream in ("true", "false"):
            mine = f"{way}.{stream}"
            script = acts(SAY, {"gate": mine}, SAY)
            call = service.client.send(script, stream=stream, headers={"X-Request-ID": mine})
            gates.entered(mine)
            getattr(call, way)()
            line = service.logged("job.done", request_id=mine)
            assert (line["status"], line["kind"], line["outcome"]) == (499, "cancelled", "cancelled")
            access = service.logged("http.access", request_id=mine)
            assert access["status"] == 499
            call.close()
            assert service.client.transcribe(acts(SAY)).status == 200


@pytest.mark.interrupts
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_drain_tells_who_is_connected_and_leaves_nothing(
    number: signal.Signals, serve: Start, gates: Gates, tmp_path: Path
) -> None:
    service = serve("--fake", "--port", "0", AISTACK_SERVER__DRAIN_GRACE_S="0.2")
    client = service.client
    call = client.send(acts(SAY, {"gate": "a"}, {"hang": True}), stream="true")
    events = call.events()
    assert next(events)["delta"] == "one two"
    in_line = client.send(acts(SAY), headers={"Prefer": "wait=60"})
    gates.entered()
    children = service.children()
    assert children
    service.process.send_signal(number)
    (last,) = events
    assert (last["type"], last["error"]["code"]) == ("error", "shutting_down")
    refused = in_line.answer()
    assert (refused.status, refused.error["code"]) == (503, "shutting_down")
    assert service.wait() == 0
    assert not [child for child in children if child.is_running()]
    assert os.listdir(tmp_path / "spool") == []
    call.close()


def test_a_drain_lets_a_running_job_finish(serve: Start, gates: Gates) -> None:
    service = serve("--fake", "--port", "0", AISTACK_SERVER__DRAIN_GRACE_S="30")
    call = service.client.send(acts(SAY, {"gate": "a"}, SAY), stream="true")
    let_pass = gates.entered()
    service.process.send_signal(signal.SIGTERM)
    service.logged("stopping")
    let_pass()
    answer = call.answer()
    assert types(answer.events) == ["delta", "delta", "done"]
    assert answer.complete
    assert service.wait() == 0


def test_a_killed_gateway_leaves_no_engine_behind(serve: Start, gates: Gates) -> None:
    service = serve("--fake", "--port", "0")
    call = service.client.send(acts({"gate": "a"}, SAY))
    gates.entered()
    (child,) = service.children()
    service.process.kill()
    assert service.wait() == -signal.SIGKILL
    gone, alive = psutil.wait_procs([child], BOUND_S)
    assert (len(gone), alive) == (1, [])
    call.close()
