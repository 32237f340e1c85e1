"""What the benchmarks of all four ears share: a server with every engine on its tiny model, its
processes, its log, and what each engine is given to hear. Needs nemo_toolkit and funasr."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
from attrs import frozen

from contrib.dev.bench.harness import AUDIO, CONFIG, ROOT, SPEECH, Server, serving
from contrib.dev.bench.long_audio import plain

MODELS = ROOT / "tests" / "data" / "models"

EARS = (
    CONFIG.replace('"info"', '"debug"')  # transitions are seen in the log
    + f"""
[server]
drain_grace_s = 1

[slots]
devices = ["cpu"]
idle_unload_s = 0

[parakeet]
weights = "{MODELS / "parakeet-digits.nemo"}"

[sensevoice]
weights = "{MODELS / "sensevoice-digits"}"
vad = "{MODELS / "fsmn-vad-digits"}"
vad_silence_ms = 400
"""
)
DIGITS: dict[str, Any] = json.loads((AUDIO / "transcripts.json").read_text(encoding="utf-8"))


@frozen
class Ear:
    """One engine: the model to ask for, a recording it understands, what is said in it, the highest
    word error rate it may have there, and how many MiB more than it holds are too few for ten minutes.
    """

    name: str
    model: str
    recording: Path
    truth: str
    worst: float
    starved_mib: int


MINUTE = AUDIO / "digits-en-long.wav"
MINUTE_TEXT: str = DIGITS[MINUTE.name]["text"]
HELLO = "hello there the weather is nice today the boys went to the river with their father"

EARS_BY_NAME = {
    ear.name: ear
    for ear in (
        Ear("whisper", "tiny-digits", MINUTE, MINUTE_TEXT, 0.1, 64),
        Ear("parakeet", "parakeet", MINUTE, MINUTE_TEXT, 0.05, 8),
        Ear("sensevoice", "sensevoice", MINUTE, MINUTE_TEXT, 0.15, 4),
        Ear("pocketsphinx", "pocketsphinx-en-us", SPEECH, HELLO, 0.25, 0),
    )
}


@contextlib.contextmanager
def listening(spare: str = "off", **environ: str) -> Iterator[Server]:
    """A server with all of them."""
    with serving(spare=spare, config=EARS, **environ) as server:
        yield server


def said(text: str) -> str:
    """Words, figures among them as words."""
    return " ".join(plain(text))


def engines(server: Server) -> list[psutil.Process]:
    """The engine processes, oldest first."""
    return sorted(server.tree[1:], key=lambda process: process.create_time())


def lines(server: Server, message: str, **fields: Any) -> list[dict[str, Any]]:
    """The log's lines with this message and these fields so far."""
    wanted = {"message": message, **fields}
    found = []
    for text in server.log.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError):
            line = json.loads(text)
            if wanted.items() <= line.items():
                found.append(line)
    return found


def transitions(server: Server) -> list[str]:
    """The states that jobs have reached so far, oldest first."""
    return [line["to"] for line in lines(server, "job.transition")]


def get(server: Server, path: str) -> Any:
    with contextlib.closing(server.connection(60)) as connection:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())


def loaded(server: Server) -> list[str]:
    """The ids that are in memory."""
    return [entry["id"] for entry in get(server, "/v1/models")["data"] if entry.get("loaded")]


def holder(server: Server, probe: bytes, headers: dict[str, str]) -> dict[str, Any] | None:
    """Who holds the slot, as a refused caller is told; none if the (unreadable) probe got it."""
    with contextlib.closing(server.connection(120)) as connection:
        connection.request("POST", "/v1/audio/transcriptions", probe, headers)
        answer = connection.getresponse()
        body = json.loads(answer.read())
    return dict(body["error"]["holder"]) if answer.status == 503 and "holder" in body["error"] else None


def until(holds: Callable[[], Any], what: str, limit_s: float = 300.0) -> float:
    """Seconds until it holds; looked at fifty times a second."""
    begin = time.perf_counter()
    while not holds():
        if time.perf_counter() - begin > limit_s:
            raise SystemExit(f"not within {limit_s:g} s: {what}")
        time.sleep(0.02)
    return time.perf_counter() - begin


def read(response: http.client.HTTPResponse) -> bytes:
    """What came, also of an answer that was cut."""
    try:
        return response.read()
    except http.client.IncompleteRead as cut:
        return cut.partial
