"""`python -m contrib.dev.bench.voice_agent [--rounds N] [--voice VOICE] [--json FILE]`.

A voice agent's day: transcribe, chat, speak, again and again, one slot handed from the tiny Whisper to
Ollama to the voice and back. The engines are real; Ollama and, if asked for, the speech container are
the doubles of the tests (a `sleeping` one gives its memory back while others work). Fails if a round
fails or anything is left behind; prints how long each hand-over took: from the slot to the engine's
first work, with whatever had to leave the card before.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from attrs import asdict, define, field

from contrib.dev.bench.harness import (
    AUDIO,
    HEADERS,
    ROOT,
    TINY,
    free_port,
    median,
    multipart,
    percentile,
    wait_healthy,
)
from contrib.dev.bench.soak import BOUND_S, GROWTH_MAX, POOL, Service, Vitals

MODEL = "qwen3:4b"
HEARD, JSON = AUDIO / "digits-en.wav", {"Content-Type": "application/json"}
ANSWER = "Hello there, how are you?"
"""What the double of Ollama says."""
OPS = {"transcribe": "speak to transcribe", "chat": "transcribe to chat", "speak": "chat to speak"}
"""The hand-overs, by what begins."""
SHOWN = 10
"""Failures that are printed: one cause makes many."""
FIGURES = ("prepare_s", "first_byte_s", "total_s")

CONFIG = """
[server]
spool_dir = "{spool}"
[slots]
devices = ["cpu"]
idle_unload_s = 0
[engines]
threads = 1
spare = "{spare}"
[models.local]
tiny-digits = "{tiny}"
[ollama]
url = "{ollama}"
[qwen_tts]
url = "{omni}"
[log]
level = "info"
format = "json"
"""


@define
class Report:
    """What came of a run; `failures` are sentences. Times in seconds, `rss` in bytes."""

    rounds: int
    voice: str
    seconds: float = 0.0
    before: Vitals | None = None
    after: Vitals | None = None
    threads_max: int = 0
    rss: list[int] = field(factory=list)
    took: dict[str, dict[str, list[float]]] = field(factory=dict)
    failures: list[str] = field(factory=list)

    def judge(self) -> None:
        """Add what was left behind to `failures`."""
        grown = self.rss[2] - self.rss[1]
        if grown > GROWTH_MAX:
            self.failures.append(f"the gateway grew by {grown} bytes in the second half")
        assert self.before is not None
        assert self.after is not None
        names = ("descriptors", "processes", "spooled")
        if any(getattr(self.after, name) > getattr(self.before, name) for name in names):
            self.failures.append(f"before {self.before}, after {self.after}")
        if self.after.threads > self.threads_max:
            self.failures.append(f"{self.after.threads} threads, {self.threads_max} are the most")
        for op in OPS:
            told = len(self.took.get(op, {}).get("total_s", ()))
            if told != self.rounds:
                self.failures.append(f"{told} jobs of {op} went well, not {self.rounds}")

    def medians(self) -> dict[str, dict[str, float]]:
        """By hand-over: the median of each figure, and the 95th percentile of `prepare_s`."""
        found = {}
        for op, name in OPS.items():
            of = self.took.get(op, {})
            found[name] = {key: round(median(of[key]), 3) for key in FIGURES if of.get(key)}
            if of.get("prepare_s"):
                found[name]["prepare_p95_s"] = round(percentile(of["prepare_s"], 0.95), 3)
        return found

    def __str__(self) -> str:
        start, half, end = (f"{each / 1e6:.1f}" for each in self.rss)
        lines = [
            f"rounds            {self.rounds} in {self.seconds:.0f} s, voice: {self.voice}",
            f"gateway RSS, MB   {start} at the start, {half} at 50 %, {end} at 100 %",
            f"before            {self.before}",
            f"after             {self.after}",
            "",
            "| hand-over | prepare, median s | p95 | first byte | whole call |",
            "| --- | --- | --- | --- | --- |",
        ]
        keys = ("prepare_s", "prepare_p95_s", "first_byte_s", "total_s")
        for name, figures in self.medians().items():
            lines.append(f"| {name} | " + " | ".join(str(figures.get(key, "-")) for key in keys) + " |")
        lines += [f"FAILED            {each}" for each in self.failures[:SHOWN]]
        if len(self.failures) > SHOWN:
            lines.append(f"FAILED            and {len(self.failures) - SHOWN} more")
        return "\n".join(lines)


# --- what runs ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def double(name: str, *flags: str) -> Iterator[str]:
    """One of the tests' doubles in a process of its own; its address."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", f"tests.doubles.{name}", *flags],
        stdout=subprocess.PIPE,
        env=env,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def gateway(ollama: str, omni: str, spare: str) -> Iterator[Service]:
    """`aistack serve` between the doubles; SIGTERM at the end, which it must obey."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "spool").mkdir()
        text = CONFIG.format(spool=folder / "spool", tiny=TINY, ollama=ollama, omni=omni, spare=spare)
        (folder / "aistack.toml").write_text(text)
        port = free_port()
        env = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
        serve = ["serve", "--config", str(folder / "aistack.toml"), "--port", str(port)]
        with (folder / "log").open("wb") as log, (folder / "stderr").open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "aistack", *serve], stdout=log, stderr=errors, env=env
            )
            try:
                wait_healthy(port)
                yield Service(port, psutil.Process(process.pid), folder / "spool", folder / "log")
                process.send_signal(signal.SIGTERM)
                if process.wait(BOUND_S) != 0:
                    raise SystemExit(f"the gateway ended with {process.returncode}")
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()


# --- a round -----------------------------------------------------------------------------------------


class Failed(Exception):
    """A round that did not go as it must."""


def post(port: int, path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """The body of a 200. Raises Failed, OSError, http.client.HTTPException."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=BOUND_S)) as asking:
        asking.request("POST", path, body, headers)
        answer = asking.getresponse()
        data = answer.read()
    if answer.status != 200:
        raise Failed(f"{path}: {answer.status} {data[:300]!r}")
    return data


def converse(port: int, voice: str) -> str:
    """One round; what was heard. Raises as `post`."""
    audio = multipart(HEARD.read_bytes(), model="tiny-digits")
    heard = str(json.loads(post(port, "/v1/audio/transcriptions", audio, HEADERS))["text"])
    if not heard:
        raise Failed("nothing was heard")
    asked = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": heard}]}
    events = post(port, "/v1/chat/completions", json.dumps(asked).encode(), JSON).decode()
    *chunks, end = [line.removeprefix("data: ") for line in events.splitlines() if line]
    deltas = [json.loads(chunk)["choices"][0]["delta"] for chunk in chunks]
    said = "".join(delta.get("content", "") for delta in deltas)
    if (said, end) != (ANSWER, "[DONE]"):
        raise Failed(f"the chat said {said!r} and ended with {end!r}")
    # OpenAI's name of a model would go to whichever of the two is there; each id names one.
    model = "espeak-ng" if voice == "espeak" else "qwen3-tts-12hz-0.6b-customvoice"
    wanted = {"model": model, "voice": "alloy", "input": said, "response_format": "wav"}
    sound = post(port, "/v1/audio/speech", json.dumps(wanted).encode(), JSON)
    if sound[:4] != b"RIFF" or len(sound) < 10_000:
        raise Failed(f"{len(sound)} bytes that begin with {sound[:4]!r} are no speech")
    return heard


def rest(service: Service) -> int:
    """Wait until every connection is gone, the idle ones to the upstreams too; the resident bytes."""
    end = time.monotonic() + BOUND_S
    while time.monotonic() < end:
        connections = service.process.net_connections("tcp")
        if all(each.status == psutil.CONN_LISTEN for each in connections):
            break
        time.sleep(0.05)
    return int(service.process.memory_info().rss)


def figures(service: Service, skip: int) -> dict[str, dict[str, list[float]]]:
    """The figures of the jobs that went well, by what they did; the first `skip` of each left out."""
    took: dict[str, dict[str, list[float]]] = {op: {key: [] for key in FIGURES} for op in OPS}
    seen = dict.fromkeys(OPS, 0)
    for line in service.lines():
        if line["message"] != "job.done" or line["op"] not in OPS or line["outcome"] != "ok":
            continue
        seen[line["op"]] += 1
        if seen[line["op"]] > skip:
            for key in FIGURES:
                if key in line:
                    took[line["op"]][key].append(line[key])
    return took


WARM = 2
"""Rounds before anything is counted: what stays up comes up."""


def run(rounds: int, voice: str = "espeak", spare: str = "off") -> Report:
    """The whole thing."""
    report = Report(rounds, voice)
    flags = ["--can-sleep"] if voice == "sleeping" else []
    with (
        double("ollama") as ollama,
        double("vllm_omni", *flags) as omni,
        gateway(ollama, omni, spare) as service,
    ):
        report.threads_max = service.process.num_threads() + POOL
        for _ in range(WARM):
            expected = converse(service.port, voice)
        report.rss.append(rest(service))
        report.before = service.vitals()
        begin = time.monotonic()
        for number in range(1, rounds + 1):
            try:
                if (heard := converse(service.port, voice)) != expected:
                    raise Failed(f"{heard!r} was heard, {expected!r} before")
            except (Failed, OSError, http.client.HTTPException) as exc:
                report.failures.append(f"round {number}: {exc}")
            if number in (rounds // 2, rounds):
                report.rss.append(rest(service))
        report.seconds = time.monotonic() - begin
        report.after = service.vitals()
        report.took = figures(service, WARM)
    report.judge()
    return report


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m contrib.dev.bench.voice_agent", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--voice", choices=("espeak", "container", "sleeping"), default="espeak")
    parser.add_argument("--spare", choices=("on", "off"), default="off", help="engines.spare")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures as JSON too")
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("--rounds must be at least 2")
    report = run(options.rounds, options.voice, options.spare)
    print(report)
    if options.json:
        plain = asdict(report) | {"medians": report.medians()}
        options.json.write_text(json.dumps(plain, indent=1) + "\n")
    sys.exit(1 if report.failures else 0)


if __name__ == "__main__":
    main()
