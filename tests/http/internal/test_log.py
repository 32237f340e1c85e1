"""The log of the real command line: single JSON objects, the ids of each call, and nobody's words."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.e2e.server import Log
from tests.http.gateway.client import Client
from tests.http.internal.talk import ADA, AUTH, BO, KEY, LONG_S, ROOT, WHO, user
from tests.support.listening import ROOT as REPOSITORY

CONFIG = """
[server]
spool_dir = "{folder}"
[slots]
devices = ["cpu"]
[engines]
spare = "off"
nice = 0
threads = 1
[inference]
api_key = "{key}"
root = "{root}"
model = "tiny-ada"
[log]
level = "debug"
format = "json"
"""
SECRET = "zxqv unmistakable words of a user"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, Log]]:
    folder = tmp_path_factory.mktemp("log")
    config = folder / "aistack.toml"
    config.write_text(CONFIG.format(folder=folder, key=KEY, root=ROOT))
    env = {name: value for name, value in os.environ.items() if not name.startswith("AISTACK_")}
    command = [sys.executable, "-m", "aistack", "serve", "--config", str(config), "--port", "0"]
    said = (folder / "stderr").open("w")
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=said,
        text=True,
        env=env | {"PYTHONPATH": str(REPOSITORY), "HF_HUB_OFFLINE": "1"},
        cwd=folder,
    )
    try:
        told = Log(process.stdout)
        listening = told.wait("listening")
        client = Client(int(listening["addresses"][0].rpartition(":")[2]))
        told.wait("job.done", bound_s=LONG_S, op="swap")
        assert client.get("/health").json["ready"]
        yield client, told
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONG_S) == 0
    finally:
        process.kill()
        process.wait(LONG_S)
        told.thread.join(LONG_S)
        process.stdout.close()  # type: ignore[union-attr]
        said.close()


def generate(client: Client, text: str, headers: dict[str, str], key: bool = True) -> int:
    body = json.dumps({"messages": user(text), "temperature": 0}).encode()
    return client.ask("POST", "/generate", body, (AUTH if key else {}) | headers).status


def test_b93_the_standard_fields_and_ids_on_every_line_of_a_call(log: tuple[Client, Log]) -> None:
    client, told = log
    ids = {"trace_id": "trace.1", "session_trace_id": "session.1", "user_id": "user-1"}
    headers = {"x-trace-id": "trace.1", "x-session-trace-id": "session.1", "x-user-id": "user-1"}
    assert generate(client, WHO, headers | {"X-Request-ID": "call.1"}) == 200
    done = told.wait("job.done", request_id="call.1")
    assert done["inference_time_ms"] > 0
    assert done["tokens"] > 1
    assert (done["op"], done["status"], done["outcome"]) == ("generate", 200, "ok")
    assert "error" not in done
    access = told.wait("http.access", request_id="call.1")
    lines = [line for line in told.lines if line.get("request_id") == "call.1"]
    assert {line["message"] for line in lines} == {"job.transition", "job.done", "http.access"}
    for line in lines:
        assert line.items() >= ids.items()
        assert list(line)[:4] == ["timestamp", "level", "service", "message"]
    assert (access["method"], access["path"], access["status"]) == ("POST", "/generate", 200)
    assert told.raw == [], "every line is one JSON object"


def test_b91_a_call_without_a_trace_id_gets_one(log: tuple[Client, Log]) -> None:
    client, told = log
    assert generate(client, WHO, {"X-Request-ID": "call.2"}) == 200
    done = told.wait("job.done", request_id="call.2")
    assert done["trace_id"] == "call.2"
    assert "session_trace_id" not in done
    assert "user_id" not in done


def test_b93_a_failure_says_so_in_a_sentence(log: tuple[Client, Log]) -> None:
    client, told = log
    assert generate(client, "z" * 8000, {"X-Request-ID": "call.3", "x-trace-id": "t.3"}) == 400
    done = told.wait("job.done", request_id="call.3")
    assert (done["code"], done["trace_id"]) == ("context_overflow", "t.3")
    assert "exceeds this model's context of" in done["error"]
    engine = told.wait("engine refused the input", trace_id="t.3")
    assert engine["request_id"] == "call.3", "lines of the step bear the ids too"


def test_b91_b93_a_swap_bears_the_ids_of_its_call(log: tuple[Client, Log]) -> None:
    client, told = log
    headers = AUTH | {"x-trace-id": "swap.1", "X-Request-ID": "call.4"}
    body = b'{"model_tag": "tiny-bo-hf"}'
    assert client.ask("POST", "/models/swap", body, headers).status == 202
    done = told.wait("job.done", request_id="call.4")
    assert (done["op"], done["outcome"], done["trace_id"]) == ("swap", "ok", "swap.1")
    assert done["prepare_s"] > 0


def test_b94_neither_keys_nor_words_are_logged(log: tuple[Client, Log]) -> None:
    """At debug, for good calls and bad ones; a user's id is believed only with the key."""
    client, told = log
    for number, (text, headers, key, status) in enumerate(
        [
            (SECRET, {}, True, 200),
            (WHO, {}, True, 200),
            (SECRET, {"X-Internal-API-Key": KEY + SECRET}, False, 401),
            (SECRET, {"x-user-id": "impostor"}, False, 401),
            (
                SECRET,
                {"x-trace-id": SECRET, "x-user-id": SECRET, "x-session-trace-id": SECRET},
                True,
                200,
            ),
        ]
    ):
        name = f"b94.{number}"
        assert generate(client, text, headers | {"X-Request-ID": name}, key) == status
        line = told.wait("http.access", request_id=name)
        assert "user_id" not in line
        assert line["trace_id"] == name
    assert client.ask("POST", "/generate", f'{{"{SECRET}": 1}}'.encode(), AUTH).status == 400
    assert (
        client.ask("POST", "/models/swap", f'{{"model_tag": "{SECRET}"}}'.encode(), AUTH).status == 404
    )
    told.wait("http.access", path="/models/swap", status=404)
    text = json.dumps(told.lines, ensure_ascii=False) + "".join(told.raw)
    assert KEY not in text
    assert SECRET not in text
    assert "unmistakable" not in text
    for answer in (ADA[WHO], BO[WHO], WHO):
        assert answer not in text
