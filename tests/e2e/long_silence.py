"""Silence as FLAC, however long: a small file that decodes to a lot.

`python -m tests.e2e.long_silence 36000` sends ten hours to a server with the real Whisper (the tiny
model) and tells what came back, how long it took, and what it cost in memory.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from pathlib import Path

import av
import numpy as np

from tests.e2e.server import AUDIO, Server, serving
from tests.e2e.talk import BOUND_S, WAIT, Said, Talk, transcribe

RATE = 16_000
SPEED = 50
"""Hours of silence per hour, at the very least."""


def flac(path: Path, seconds: int) -> Path:
    """Write `seconds` of silence."""
    block = np.zeros((1, RATE * 10), np.int16)
    with av.open(str(path), "w", format="flac") as out:
        stream = out.add_stream("flac", rate=RATE, layout="mono")
        for at in range(0, seconds * RATE, block.shape[1]):
            frame = av.AudioFrame.from_ndarray(block, "s16", "mono")
            frame.sample_rate, frame.pts = RATE, at
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def send(server: Server, path: Path, seconds: int) -> Said:
    """The answer to the file, within a bound that depends on its length."""
    request = transcribe(path.read_bytes(), WAIT, model="whisper-small", response_format="verbose_json")
    talk = Talk(server.port)
    try:
        talk.sock.settimeout(BOUND_S + seconds / SPEED)
        return talk.send(request).reply()
    finally:
        talk.close()


def main(seconds: int) -> None:
    with tempfile.TemporaryDirectory() as folder, serving(fake=False) as server:
        server.probe = transcribe((AUDIO / "digits-en.wav").read_bytes(), WAIT, model="whisper-small")
        server.warm()
        path = flac(Path(folder) / "silence.flac", seconds)
        print(f"{seconds} s of silence, {path.stat().st_size} bytes as FLAC")  # noqa: T201 - a report
        before = server.me.memory_info().rss
        peak = [0]
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.1):
                peak[0] = max([peak[0], *(engine.memory_info().rss for engine in server.engines)])

        watching = threading.Thread(target=watch)
        watching.start()
        begin = time.monotonic()
        try:
            said = send(server, path, seconds)
        finally:
            over.set()
            watching.join()
        took = time.monotonic() - begin
        told = json.loads(said.body)
        grown = server.me.memory_info().rss - before
        print(  # noqa: T201 - a report
            f"{said.status} text={told['text']!r} duration={told['duration']} in {took:.1f} s; gateway "
            f"{grown / 2**20:+.1f} MiB, engine at most {peak[0] / 2**20:.0f} MiB"
        )
        server.check()
        print("afterwards: slot free, nothing left behind")  # noqa: T201 - a report


if __name__ == "__main__":
    main(int(sys.argv[1]))
