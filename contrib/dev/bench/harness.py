"""What the benchmarks share: a server to measure, audio to send, medians, and the table.

Every figure stands beside a reference measured in the same run, in interleaved pairs, so that its
ratio survives a noisy machine. Nothing here knows a threshold's meaning; a Row carries its bar.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import math
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
from attrs import asdict, define

ROOT = Path(__file__).resolve().parents[3]
AUDIO = ROOT / "tests" / "data" / "audio"
TINY = ROOT / "tests" / "data" / "models" / "tiny-whisper-digits"
SPEECH = ROOT / "contrib" / "samples" / "hello.wav"
BOUNDARY = "----aistack-bench"


@define
class Row:
    """One line of the table. `ratio` is ours / reference; `ok`: whether the bar is met."""

    name: str
    ours: str
    reference: str
    ratio: float | None
    bar: str
    ok: bool | None


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| what | aistack | reference | ratio | bar | met |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.3f}"
        met = {True: "yes", False: "NO", None: "-"}[row.ok]
        lines.append(f"| {row.name} | {row.ours} | {row.reference} | {ratio} | {row.bar} | {met} |")
    return "\n".join(lines)


def save(rows: Sequence[Row], path: str) -> None:
    """The rows as JSON."""
    Path(path).write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered)) - 1))]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def times(source: Path, seconds: float) -> int:
    """How often `source` must be said to last `seconds`."""
    with wave.open(str(source), "rb") as wav:
        return math.ceil(seconds * wav.getframerate() / wav.getnframes())


def repeated(source: Path, seconds: float) -> bytes:
    """A WAV of at least `seconds`, made of whole repetitions of `source`."""
    with wave.open(str(source), "rb") as wav:
        params, frames = wav.getparams(), wav.readframes(wav.getnframes())
    out = io.BytesIO()
    with wave.open(out, "wb") as wav:
        wav.setparams(params)
        for _ in range(times(source, seconds)):
            wav.writeframes(frames)
    return out.getvalue()


def multipart(audio: bytes, **fields: str) -> bytes:
    """A transcription request's body."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()
    return b"".join([*parts, head, audio, f"\r\n--{BOUNDARY}--\r\n".encode()])


HEADERS = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


class Server:
    """`aistack serve` in a process of its own, with its log in a file."""

    def __init__(self, port: int, process: subprocess.Popen[bytes], log: Path, up_s: float) -> None:
        self.port = port
        self.process = process
        self.log = log
        self.up_s = up_s

    @property
    def tree(self) -> list[psutil.Process]:
        me = psutil.Process(self.process.pid)
        return [me, *me.children(recursive=True)]

    @property
    def rss(self) -> int:
        """Resident bytes of the gateway alone."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def connection(self, timeout: float = 900) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def transcribe(self, audio: bytes, **fields: str) -> tuple[int, bytes, float]:
        """Status, body, and seconds from the first byte sent to the last received."""
        body = multipart(audio, **fields)
        with contextlib.closing(self.connection()) as connection:
            connection.connect()
            begin = time.perf_counter()
            connection.request("POST", "/v1/audio/transcriptions", body, HEADERS)
            response = connection.getresponse()
            answer = response.read()
            return response.status, answer, time.perf_counter() - begin


def wait_healthy(port: int, limit_s: float = 60.0, path: str = "/health") -> float:
    """Seconds until `path` answers 200."""
    begin = time.perf_counter()
    while time.perf_counter() - begin < limit_s:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return time.perf_counter() - begin
        except OSError:
            time.sleep(0.005)
        finally:
            connection.close()
    raise SystemExit(f"nothing answered on port {port} within {limit_s} s")


CONFIG = """
[engines]
threads = 1
spare = "{spare}"

[models.local]
tiny-digits = "{tiny}"

[log]
level = "info"
format = "json"
"""


@contextlib.contextmanager
def serving(
    *arguments: str, spare: str = "off", config: str = CONFIG, **environ: str
) -> Iterator[Server]:
    """A server with the tiny Whisper as `tiny-digits`; stopped by SIGTERM at the end.

    `config` is another configuration, with the placeholders of CONFIG.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "aistack.toml"
        file.write_text(config.format(tiny=TINY, spare=spare))
        port = free_port()
        log = Path(folder) / "log"
        env = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", **environ}
        command = [sys.executable, "-m", "aistack", "serve", "--config", str(file)]
        with log.open("wb") as sink:
            begin = time.perf_counter()
            process = subprocess.Popen(
                [*command, "--port", str(port), *arguments], stdout=sink, stderr=sink, env=env
            )
            try:
                wait_healthy(port)
                yield Server(port, process, log, time.perf_counter() - begin)
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


class Direct:
    """The library called directly, in a warm process of the engines' niceness."""

    def __init__(self, engine: str, nice: int = 10) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "contrib.dev.bench.direct", engine, str(TINY), str(nice)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        self.ask({"ready": True})

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        """One order, one answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


def words(text: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in text.lower()).split()


def wer(reference: str, heard: str) -> float:
    """Word error rate: edits over reference words."""
    one, two = words(reference), words(heard)
    row = list(range(len(two) + 1))
    for i, a in enumerate(one, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(two, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1] / max(len(one), 1)
