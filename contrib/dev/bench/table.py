"""Every engine x every case, over HTTP, on a real server with the tiny models: what came back.

    python -m contrib.dev.bench.table                     # all engines; about ten minutes on two cores
    python -m contrib.dev.bench.table parakeet whisper    # some
    python -m contrib.dev.bench.table --long              # 100 minutes of audio too

Prints a Markdown table and asserts every cell; needs nemo_toolkit and funasr. Out of memory is real: a
limit on the address space of the engine's process (RLIMIT_AS, Linux), a little above what it holds, set
from outside while it is idle; its library then fails in its own way. Word error rates are those of the
tiny models; what must hold is that they do not grow with the length. Peak memory is the process's
VmHWM, reset before each case (Linux).
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import json
import os
import signal
import tempfile
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from contrib.dev.bench.ears import (
    EARS_BY_NAME,
    Ear,
    engines,
    holder,
    lines,
    listening,
    loaded,
    read,
    transitions,
    until,
)
from contrib.dev.bench.harness import HEADERS, Direct, Server, multipart, repeated, times
from contrib.dev.bench.long_audio import errors, plain

Connection = http.client.HTTPConnection
RATE = 16_000
PATH = "/v1/audio/transcriptions"


def wav(samples: np.ndarray) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.astype("<i2").tobytes())
    return out.getvalue()


def rate(truth: str, text: str) -> float:
    """Word error rate; figures count as words."""
    wanted = plain(truth)
    return errors(wanted, plain(text)) / len(wanted)


class Bench:
    """One engine in front of one server."""

    def __init__(self, server: Server, ear: Ear) -> None:
        self.server = server
        self.ear = ear
        self.audio = ear.recording.read_bytes()
        self.probe = multipart(b"no audio", model=ear.model)
        self.per_minute: dict[int, tuple[float, float, float]] = {}

    def ask(self, audio: bytes, **fields: str) -> tuple[int, bytes]:
        status, body, _ = self.server.transcribe(audio, model=self.ear.model, temperature="0", **fields)
        return status, body

    def good(self, audio: bytes, **fields: str) -> bytes:
        status, body = self.ask(audio, **fields)
        assert status == 200, body
        return body

    @contextlib.contextmanager
    def sent(
        self, audio: bytes, state: str = "running", **fields: str
    ) -> Iterator[http.client.HTTPConnection]:
        """A request that has reached a state, whose answer nobody has read; closed at the end."""
        before = len(transitions(self.server))
        with contextlib.closing(self.server.connection()) as connection:
            connection.request("POST", PATH, multipart(audio, model=self.ear.model, **fields), HEADERS)
            until(lambda: state in transitions(self.server)[before:], state)
            yield connection

    @property
    def engine(self) -> psutil.Process:
        return engines(self.server)[-1]

    def held(self) -> dict[str, Any] | None:
        return holder(self.server, self.probe, HEADERS)

    def at_work(self) -> bool:
        """Whether the engine has told how far it is in the audio."""
        now = self.held()
        return now is not None and now.get("progress", 0) > 0

    # --- formats -------------------------------------------------------------------------------------

    def json(self) -> str:
        told = json.loads(self.good(self.audio))
        assert set(told) == {"text"}
        error = rate(self.ear.truth, told["text"])
        assert error <= self.ear.worst, told
        return f"200, WER {error:.3f}"

    def verbose_json(self) -> str:
        told = json.loads(self.good(self.audio, response_format="verbose_json"))
        assert told["segments"]
        ends = [(each["start"], each["end"]) for each in told["segments"]]
        assert ends == sorted(ends)
        return f"200, {told['language']}, {told['duration']:.1f} s, {len(ends)} segments"

    def words(self) -> str:
        told = json.loads(
            self.good(
                self.audio, response_format="verbose_json", **{"timestamp_granularities[]": "word"}
            )
        )
        words = told["words"]
        starts = [word["start"] for word in words]
        assert starts == sorted(starts)
        assert [word["word"] for word in words] == told["text"].split()
        return f"200, {len(words)} words in order"

    def _cues(self, kind: str) -> str:
        text = self.good(self.audio, response_format=kind).decode()
        assert kind != "vtt" or text.startswith("WEBVTT")
        count = text.count(" --> ")
        assert count
        return f"200, {count} cues"

    def srt(self) -> str:
        return self._cues("srt")

    def vtt(self) -> str:
        return self._cues("vtt")

    def stream(self) -> str:
        text = self.good(self.audio, stream="true").decode()
        events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
        kinds = [event["type"].rpartition(".")[2] for event in events]
        deltas = [event["delta"] for event in events if event["type"].endswith("delta")]
        assert kinds[-1] == "done"
        assert "".join(deltas) == events[-1]["text"]
        if self.ear.name == "parakeet":
            assert kinds == ["warning", "delta", "done"]
        else:
            assert set(kinds) == {"delta", "done"}
            assert len(deltas) > 1
        warned = "warning, " if kinds[0] == "warning" else ""
        return f"200, {warned}{len(deltas)} delta{'s' * (len(deltas) > 1)}, done"

    # --- next to nothing -----------------------------------------------------------------------------

    def _nothing(self, samples: np.ndarray) -> str:
        told = json.loads(self.good(wav(samples), response_format="verbose_json"))
        assert abs(told["duration"] - samples.size / RATE) < 0.001
        return f"200, {len(plain(told['text']))} words"

    def silence(self) -> str:
        answer = self._nothing(np.zeros(3 * RATE, np.int16))
        assert answer == "200, 0 words"
        return answer

    def noise(self) -> str:
        answer = self._nothing(np.random.default_rng(7).normal(0, 30, 3 * RATE).astype(np.int16))
        assert answer == "200, 0 words"
        return answer

    def samples_0(self) -> str:
        status, body = self.ask(wav(np.zeros(0, np.int16)))
        code = json.loads(body)["error"]["code"]
        assert (status, code) == (400, "unsupported_audio")
        return f"{status} {code}"

    def samples_1(self) -> str:
        return self._nothing(np.full(1, 500, np.int16))

    def samples_399(self) -> str:
        return self._nothing(np.arange(399, dtype=np.int16))

    def ms_100(self) -> str:
        return self._nothing(np.random.default_rng(7).normal(0, 3000, RATE // 10).astype(np.int16))

    # --- leaving and dying ---------------------------------------------------------------------------

    def cancel_in_load(self) -> str:
        """The client leaves while the model is being loaded: the load is not interrupted, and stays."""
        other = EARS_BY_NAME["sensevoice" if self.ear.name == "whisper" else "whisper"]
        status, body, _ = self.server.transcribe(other.recording.read_bytes(), model=other.model)
        assert status == 200, body
        begin = time.perf_counter()
        with self.sent(self.audio, "preparing"):
            pass
        left = time.perf_counter() - begin
        until(lambda: self.held() is None, "the load is over")
        took = time.perf_counter() - begin
        until(lambda: lines(self.server, "job.done", outcome="cancelled"), "the line of the job")
        assert len(loaded(self.server)) == 1
        return f"499, left after {left:.1f} s, loaded all the same after {took:.1f} s"

    def cancel_midway(self) -> str:
        audio = repeated(self.ear.recording, 600)
        took = []
        before = self.engine.pid
        for stream in ("false", "true"):
            with self.sent(audio, stream=stream):
                until(self.at_work, "progress")
            took.append(until(lambda: self.held() is None, "the slot is free", 30))
        kept = self.engine.pid == before
        self.good(self.audio)
        return f"499, slot free after {max(took):.2f} s, engine {'kept' if kept else 'replaced'}"

    def kill_9(self) -> str:
        audio = repeated(self.ear.recording, 600)
        with self.sent(audio) as connection:
            until(self.at_work, "progress")
            self.engine.send_signal(signal.SIGKILL)
            response = connection.getresponse()
            error = json.loads(read(response))["error"]
        assert (response.status, error["code"]) == (500, "engine_crashed"), error
        self.good(self.audio)
        return f"{response.status} {error['code']}, next 200"

    def out_of_memory(self) -> str:
        self.good(self.audio)
        process = self.engine
        most = process.memory_info().vms + self.ear.starved_mib * 2**20
        process.rlimit(psutil.RLIMIT_AS, (most, most))
        status, body = self.ask(repeated(self.ear.recording, 600))
        error = json.loads(body)["error"]
        assert (status, error["code"]) == (413, "out_of_memory"), error
        assert not process.is_running()
        self.good(self.audio)
        return f"{status} {error['code']}, next 200"

    # --- long ----------------------------------------------------------------------------------------

    def minutes_10(self) -> str:
        return self._long(10)

    def minutes_100(self) -> str:
        return self._long(100)

    def _long(self, minutes: int) -> str:
        once = rate(self.ear.truth, json.loads(self.good(self.audio))["text"])
        truth = " ".join([self.ear.truth] * times(self.ear.recording, minutes * 60))
        audio = repeated(self.ear.recording, minutes * 60)
        process = self.engine
        Path(f"/proc/{process.pid}/clear_refs").write_text("5")
        begin = time.perf_counter()
        told = json.loads(self.good(audio, response_format="verbose_json"))
        took = (time.perf_counter() - begin) / (told["duration"] / 60)
        peak = high_water(process.pid)
        starts = [word["start"] for word in told["words"]]
        assert starts == sorted(starts)
        error = rate(truth, told["text"])
        most = once + 0.02
        beside = ""
        if self.ear.name == "whisper":
            # The tiny Whisper loses the thread on minutes of digits; so does the library by itself.
            by_itself = alone(audio)
            most = rate(truth, by_itself) + 0.02
            beside = f" (the library alone {most - 0.02:.3f})"
        assert error <= most, (most, error)
        self.per_minute[minutes] = error, took, peak
        if {10, 100} <= set(self.per_minute):
            (_, took10, peak10), (_, took100, peak100) = self.per_minute[10], self.per_minute[100]
            assert peak100 <= peak10 * 1.25, "memory grows with the length"
            assert took100 <= took10 * 1.5, "time per minute grows with the length"
        return f"200, WER {error:.3f}{beside}, {took:.2f} s/min, peak {peak:.0f} MB"


def alone(audio: bytes) -> str:
    """What faster-whisper says by itself on the same stretches."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        file.write(audio)
        file.flush()
        direct = Direct("whisper")
        try:
            return str(direct.ask({"path": file.name, "pieces": True})["text"])
        finally:
            direct.close()


def high_water(pid: int) -> float:
    """Most resident memory since the last reset, MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1000
    raise SystemExit("no VmHWM: this needs Linux")


CASES: dict[str, Callable[[Bench], str]] = {
    "cancel in load": Bench.cancel_in_load,
    "json": Bench.json,
    "verbose_json": Bench.verbose_json,
    "srt": Bench.srt,
    "vtt": Bench.vtt,
    "stream": Bench.stream,
    "words": Bench.words,
    "silence 3 s": Bench.silence,
    "noise 3 s": Bench.noise,
    "0 samples": Bench.samples_0,
    "1 sample": Bench.samples_1,
    "399 samples": Bench.samples_399,
    "100 ms": Bench.ms_100,
    "cancel midway (of 10 min)": Bench.cancel_midway,
    "10 min": Bench.minutes_10,
    "100 min": Bench.minutes_100,
    "kill -9 midway": Bench.kill_9,
    "out of memory": Bench.out_of_memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m contrib.dev.bench.table", description=__doc__)
    parser.add_argument("engines", nargs="*", default=list(EARS_BY_NAME))
    parser.add_argument("--long", action="store_true", help="100 minutes of audio too")
    parser.add_argument("--cases", nargs="*", default=list(CASES), help="only these")
    options = parser.parse_args()
    cases = [case for case in CASES if case in options.cases and (options.long or case != "100 min")]
    cells: dict[str, dict[str, str]] = {case: {} for case in cases}
    failed = []
    with listening(OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", "1")) as server:
        for name in options.engines:
            bench = Bench(server, EARS_BY_NAME[name])
            for case in cases:
                try:
                    cells[case][name] = CASES[case](bench)
                except AssertionError as exc:
                    cells[case][name] = f"FAILED: {str(exc)[:200]}"
                    failed.append(f"{name}, {case}: {exc}")
                print(f"{name:>12} | {case:<26} | {cells[case][name]}", flush=True)
    print("\n| | " + " | ".join(options.engines) + " |")
    print("| --- " * (len(options.engines) + 1) + "|")
    for case in cases:
        print(f"| {case} | " + " | ".join(cells[case][name] for name in options.engines) + " |")
    if failed:
        raise SystemExit("\n".join(["", *failed]))


if __name__ == "__main__":
    main()
