"""A first download seen from outside, with the real faster-whisper: progress, and what goes wrong."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.hub import Hub
from tests.http.gateway.client import Client
from tests.http.gateway.service import Service, running
from tests.http.pull.conftest import BOUND_S, Running, command, environment
from tests.support.listening import AUDIO, ROOT

SPEECH = AUDIO / "digits-en.wav"


def lines_until(stream: Any, message: str, least: int = 0) -> Iterator[dict[str, Any]]:
    """The lines of the log up to the first with this message and at least so many percent."""
    for text in iter(stream.readline, ""):
        line: dict[str, Any] = json.loads(text)
        yield line
        if line["message"] == message and line.get("percent", least) >= least:
            return
    raise AssertionError(f"the log ended without {message}")


def test_a_first_download_is_in_the_log_and_in_the_models(hub: Running, tmp_path: Path) -> None:
    hub.double.hold = 2_000_000
    hub.shut()
    environ = environment(tmp_path, hub.double.url)
    server = subprocess.Popen(
        [sys.executable, "-m", "aistack", "serve", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environ,
        cwd=ROOT,
    )
    try:
        *_, listening = lines_until(server.stdout, "listening")
        address = listening["addresses"][0]
        client = Client(int(address.rpartition(":")[2]))
        call = client.send(SPEECH, model="tiny", language="en")
        *_, seen = lines_until(server.stdout, "model.download", 15)
        assert (seen["model"], seen["engine"], seen["total"]) == ("whisper-tiny", "whisper", 7_209_750)
        assert seen["percent"] == seen["bytes"] * 100 // seen["total"]
        entry = client.get("/v1/models/whisper-tiny").json
        assert entry["loaded"] is False
        assert entry["download"] == {"bytes": seen["bytes"], "total": seen["total"]}
        shown = command(environ, "models", "--server", f"http://{address}").stdout
        assert re.search(r"^whisper-tiny .* downloading \d\d%$", shown, re.M), shown
        busy = client.transcribe(SPEECH, model="tiny")
        assert (busy.status, busy.error["holder"]["model"]) == (503, "whisper-tiny")
        assert 0.15 <= busy.error["holder"]["progress"] < 0.5
        hub.open()
        answer = call.answer()
        assert answer.status == 200 and answer.json["text"]
        *_, whole = lines_until(server.stdout, "model.downloaded")
        assert (whole["bytes"], whole["job_id"]) == (7_209_750, seen["job_id"])
        assert client.get("/v1/models/whisper-tiny").status == 404, "only sizes under way are added"
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=BOUND_S)
    finally:
        server.kill()
        server.communicate()
    assert server.returncode == 0


@pytest.fixture
def service(
    hub: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Service, Hub]]:
    """A service whose engine processes know the double only."""
    for name, value in environment(tmp_path, hub.double.url).items():
        monkeypatch.setenv(name, value)
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "AISTACK_SERVER__LISTEN", "AISTACK_SERVER__SPOOL_DIR"):
        monkeypatch.delenv(name, raising=False)
    with running(tmp_path / "service") as service:
        yield service, hub.double


def refused(service: Service, size: str) -> str:
    """The sentence of the 503 for a model that cannot be fetched."""
    answer = service.client.transcribe(SPEECH, model=size)
    error = answer.error
    assert answer.status == 503
    assert (error["kind"], error["code"]) == ("network", "model_load_failed")
    assert error["provider"] == "Faster-Whisper"
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers
    message: str = error["message"]
    assert "127.0.0.1" not in message and "/" not in message, "no addresses, no paths"
    return message


def test_a85_why_a_download_failed_in_plain_words(
    service: tuple[Service, Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, hub = service
    assert "the Hugging Face Hub does not have or share it" in refused(here, "base")
    hub.fail("/api/models/Systran/faster-whisper-medium", "status", status=500)
    assert "the Hugging Face Hub answered with an error" in refused(here, "medium")
    hub.token = "hf_made_up"
    assert "its owner requires a licence to be accepted first" in refused(here, "tiny")
    hub.token = ""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "downloads are off (HF_HUB_OFFLINE)" in refused(here, "large-v3")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "the Hugging Face Hub could not be reached" in refused(here, "small.en")
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    answer = here.client.transcribe(SPEECH, model="tiny", language="en")
    assert answer.status == 200 and answer.json["text"]
