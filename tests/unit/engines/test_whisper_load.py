"""Loading Whisper: from a directory, from the cache, from a hub on the loopback, and all that fails."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import faster_whisper
import pytest

from aistack.chunks import ModelSpec
from aistack.engines.whisper import Whisper, compute_type_of, ctranslate2_device, threads_of
from aistack.errors import BackendFault, Code, Fault
from tests.support.listening import AUDIO, ROOT, TINY, listen


def load(source: Path | str, device: str = "cpu", **options: Any) -> Whisper:
    engine = Whisper()
    engine.load(ModelSpec("x", str(source), device, {"threads": 1, **options}), lambda progress: None)
    return engine


def failure(source: Path | str, device: str = "cpu", **options: Any) -> Fault:
    with pytest.raises(BackendFault) as caught:
        load(source, device, **options)
    fault = caught.value.fault
    assert fault.provider == "Faster-Whisper"
    assert str(source) not in fault.message
    return fault


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TINY, tmp_path / "model"))


# --- directories -----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"compute_type": "float32"}, {"batch_size": 2}])
def test_options(options: dict[str, Any]) -> None:
    engine = load(TINY, **options)
    assert listen(engine, AUDIO / "digits-de.wav").text == "zwei sieben eins acht"
    if "compute_type" in options:
        assert engine._model is not None
        assert engine._model.model.compute_type == "float32"


def test_the_default_compute_type_on_a_processor() -> None:
    assert compute_type_of("cpu", 0) == "int8"
    engine = load(TINY)
    assert engine._model is not None
    assert engine._model.model.compute_type.startswith("int8")


@pytest.mark.parametrize("name", ["tokenizer.json", "model.bin", "config.json", "vocabulary.json"])
def test_a_directory_that_lacks_a_file_never_asks_the_hub(
    name: str, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library alone would spend 25 s on fetching somebody else's tokenizer."""
    (copy / name).unlink()
    monkeypatch.setattr("socket.getaddrinfo", lambda *args, **kwargs: pytest.fail("asked the network"))
    fault = failure(copy)
    assert (fault.status, fault.code) == (503, Code.MODEL_LOAD_FAILED)
    assert f"lacks {name}" in fault.message


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.bin", b""),
        ("model.bin", b"garbage" * 100),
        ("model.bin", None),
        ("config.json", b"not json"),
        ("tokenizer.json", b"{}"),
        ("tokenizer.json", b"not json"),
        ("vocabulary.json", b""),
    ],
)
def test_damaged_files(name: str, content: bytes | None, copy: Path) -> None:
    """None: the first half of what it was."""
    if content is None:
        content = (copy / name).read_bytes()[: (copy / name).stat().st_size // 2]
    (copy / name).write_bytes(content)
    fault = failure(copy)
    assert (fault.status, fault.code) == (503, Code.MODEL_LOAD_FAILED)
    assert fault.message == "The model could not be loaded: its files are damaged or incomplete."


@pytest.mark.parametrize(
    "source", ["/no/such/dir", "./relative", "~/models/x", "no-such-size", "", "a/b/c"]
)
def test_what_is_neither_size_nor_id_nor_directory(source: str) -> None:
    with pytest.raises(BackendFault, match="neither a Whisper size"):
        load(source)


def test_a_directory_named_like_a_size_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "small").mkdir()
    shutil.copytree(TINY, tmp_path / "small", dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "none"))
    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    assert "could not be reached" in failure("small").message


def refuse(*args: object, **kwargs: object) -> str:
    from huggingface_hub.errors import LocalEntryNotFoundError

    raise LocalEntryNotFoundError("no network")


# --- devices ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "options", "words"),
    [
        ("tpu", {}, "device is unknown"),
        ("cpu", {"compute_type": "nope"}, "compute type"),
        ("cpu", {"compute_type": "float16"}, "compute type"),
        ("cuda:99", {}, "CUDA does not work"),
    ],
)
def test_devices_that_cannot(device: str, options: dict[str, Any], words: str) -> None:
    assert words in failure(TINY, device, **options).message


@pytest.mark.parametrize("device", ["cpu:0", "cpu:1"])
def test_every_slot_of_one_processor_loads(device: str) -> None:
    """The library knows one processor, with the number 0."""
    assert listen(load(TINY, device), AUDIO / "digits-de.wav").text == "zwei sieben eins acht"


def test_device_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ctranslate2_device("cpu") == ("cpu", 0)
    assert ctranslate2_device("cpu:1") == ("cpu", 0)
    assert ctranslate2_device("cuda") == ("cuda", 0)
    assert ctranslate2_device("cuda:3") == ("cuda", 3)
    monkeypatch.setattr("ctranslate2.get_cuda_device_count", lambda: 0)
    assert ctranslate2_device("auto") == ("cpu", 0)
    monkeypatch.setattr("ctranslate2.get_cuda_device_count", lambda: 2)
    assert ctranslate2_device("auto") == ("cuda", 0)


@pytest.mark.parametrize(
    ("supported", "chosen"), [({"float16", "int8", "float32"}, "float16"), ({"float32"}, "default")]
)
def test_compute_types_on_cuda(
    supported: set[str], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctranslate2.get_supported_compute_types", lambda kind, index: supported)
    assert compute_type_of("cuda", 0) == chosen


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert threads_of(7) == 7
    assert 1 <= threads_of(0) <= 4
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert threads_of(0) == 0, "the library reads it itself"


@pytest.mark.parametrize(
    "said",
    [
        RuntimeError("CUDA failed with error out of memory"),
        RuntimeError("cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED"),
        RuntimeError("std::bad_alloc"),
        MemoryError(),
    ],
    ids=repr,
)
def test_a114_out_of_memory_at_load(said: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **options: object) -> object:
        raise said

    monkeypatch.setattr(faster_whisper, "WhisperModel", full)
    fault = failure(TINY)
    assert (fault.status, fault.code) == (413, Code.OUT_OF_MEMORY)
    monkeypatch.undo()
    assert load(TINY)


def test_a_library_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    fault = failure(TINY)
    assert (fault.status, fault.code) == (503, Code.BACKEND_MISSING)
    assert f"{shlex.quote(sys.executable)} -m pip install 'faster-whisper<2,>=1.2.1'" in fault.message


# --- the hub ---------------------------------------------------------------------------------------

REVISION = "c" * 40
REPOSITORY = "Systran/faster-whisper-small"

CHILD = """
import json, sys, time
from aistack.engines.whisper import Whisper
from aistack.chunks import ModelSpec
from aistack.errors import BackendFault
import aistack.weights.hub as hub, os, threading
hub.POLL_S = 0.02
spec = ModelSpec("whisper-small", "small", "cpu", {"threads": 1})
reports, threads, began = [], set(), time.monotonic()
def report(progress):
    reports.append([progress.done, progress.total, progress.unit])
    threads.add(threading.current_thread() is threading.main_thread())
fault = None
try:
    Whisper().load(spec, report)
except BackendFault as exc:
    fault = [exc.fault.kind.word, exc.fault.code.value, exc.fault.message, exc.fault.provider]
print(json.dumps({"fault": fault, "reports": reports, "main": threads <= {True},
                  "took": time.monotonic() - began, "there": Whisper().weights(spec, os.environ)}))
"""


class Hub(ThreadingHTTPServer):
    """As much of the Hugging Face Hub as a download needs, with the tiny model under small's name."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.status = 200
        self.asked: list[str] = []


class Answer(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        path = self.path.partition("?")[0]
        if self.server.status != 200:
            headers = {"X-Error-Code": "RepoNotFound"} if self.server.status == 404 else {}
            return self.answer(self.server.status, b"{}", headers)
        files = {file.name: file.read_bytes() for file in TINY.iterdir()}
        if path in (f"/api/models/{REPOSITORY}", f"/api/models/{REPOSITORY}/revision/main"):
            siblings = [
                {"rfilename": name, "size": len(data), "blobId": hashlib.sha1(data).hexdigest()}
                for name, data in files.items()
            ]
            info = {"id": REPOSITORY, "sha": REVISION, "siblings": siblings, "private": False}
            return self.answer(200, json.dumps(info).encode())
        if path == f"/api/models/{REPOSITORY}/tree/{REVISION}":
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in files.items()
            ]
            return self.answer(200, json.dumps(tree).encode())
        name = path.rpartition("/")[2]
        if path == f"/{REPOSITORY}/resolve/{REVISION}/{name}" and name in files:
            tag = {"ETag": f'"{hashlib.sha1(files[name]).hexdigest()}"', "X-Repo-Commit": REVISION}
            return self.answer(200, files[name], tag)
        return self.answer(404, b"{}", {"X-Error-Code": "EntryNotFound"})

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(10)


def load_small(cache: Path, hub: Hub | None = None, **environ: str) -> dict[str, Any]:
    """Load whisper-small in a process of its own: the hub's library reads its settings at import."""
    endpoint = f"http://127.0.0.1:{hub.server_address[1]}" if hub else "http://127.0.0.1:9"
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGG"))}
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        env=keep
        | {"HF_HOME": str(cache), "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_TELEMETRY": "1", **environ},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_download_with_progress_and_then_no_hub_at_all(hub: Hub, tmp_path: Path) -> None:
    first = load_small(tmp_path, hub)
    assert first["fault"] is None and first["there"]
    done = [done for done, _, unit in first["reports"] if unit == "download"]
    assert first["main"], "reports are made in the thread that loads"
    assert done == sorted(done)
    assert done[-1] == sum(path.stat().st_size for path in TINY.iterdir())
    assert first["reports"][-1] == [0.0, None, "bytes"], "the load goes on when the download is over"
    assert any("resolve" in path for path in hub.asked)
    hub.asked.clear()
    second = load_small(tmp_path, hub)
    assert second["fault"] is None and hub.asked == []
    assert load_small(tmp_path, None, HF_HUB_OFFLINE="1")["fault"] is None


def test_an_interrupted_download_is_finished(hub: Hub, tmp_path: Path) -> None:
    load_small(tmp_path, hub)
    lost = next((tmp_path / "hub").glob("models--*/snapshots/*/tokenizer.json"))
    lost.resolve().unlink()
    lost.unlink()
    again = load_small(tmp_path, hub)
    assert again["fault"] is None and again["there"]


def test_a85_offline_and_not_on_disk(tmp_path: Path) -> None:
    found = load_small(tmp_path, HF_HUB_OFFLINE="1")
    kind, code, message, provider = found["fault"]
    assert (kind, code, provider) == ("network", "model_load_failed", "Faster-Whisper")
    assert (
        message == "The model's weights are not on this server, and downloads are off (HF_HUB_OFFLINE)."
    )
    assert not found["there"] and found["took"] < 30


def test_a85_no_hub_there(tmp_path: Path) -> None:
    kind, code, message, _ = load_small(tmp_path)["fault"]
    assert (kind, code) == ("network", "model_load_failed")
    assert "could not be reached" in message


@pytest.mark.parametrize(
    ("status", "words"), [(404, "does not have or share it"), (401, "an error"), (500, "could not")]
)
def test_a85_a_hub_that_refuses(status: int, words: str, hub: Hub, tmp_path: Path) -> None:
    hub.status = status
    kind, code, message, _ = load_small(tmp_path, hub)["fault"]
    assert (kind, code) == ("network", "model_load_failed")
    assert words in message
