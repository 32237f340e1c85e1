"""A scripted engine with gates, for tests and `aistack serve --fake`. Never proof of a real engine.

A fake engine takes the uploaded file as its script if it is a JSON list, one object an act:

    {"say": "text", "start": 0, "end": 1}   yield a segment
    {"gate": "name"}                        name it to the gate server, wait until it lets us pass
    {"progress": [done, total]}             yield progress
    {"fail": "oom" | "malformed" | "network" | "bug"}
    {"crash": "kill" | "segv" | "exit"}     end the process in that way
    {"hang": true | "name"}                 never come back, deaf to the token (says so at a gate first)
    {"print": "text"}                       write to stdout, as libraries do
    {"spam": n}                             n bytes of output without a line break

Any other file is "heard" as its size. What a load does is scripted the same way, by a JSON file
named in AISTACK_FAKE_LOADS: {model id: [acts]}. Gates are connections to the Unix socket named in
AISTACK_FAKE_GATES: the engine writes the gate's name and a newline, and reads one byte to pass.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

from aistack.chunks import (
    ModelSpec,
    Progress,
    Report,
    Segment,
    Transcript,
    TranscriptionRequest,
    Word,
)
from aistack.engines.base import CancelToken, EngineDefaults, OfferedModel, Yielded
from aistack.errors import BackendFault, Code, Fault, unreadable_audio

GATE_S = 60.0
"""A gate that nobody opens ends the wait: no test can hang forever."""

_FAILURES: dict[str, Exception] = {
    "oom": MemoryError("made up"),
    "bug": RuntimeError("made up"),
    "malformed": BackendFault(unreadable_audio("Fake")),
    "network": BackendFault(Fault(Code.MODEL_LOAD_FAILED, "The model could not be downloaded.", "Fake")),
}


def words_of(text: str, start: float, end: float) -> tuple[Word, ...]:
    """The words of `text`, spread evenly over its time."""
    parts = text.split()
    step = (end - start) / max(len(parts), 1)
    return tuple(
        Word(round(start + i * step, 3), round(start + (i + 1) * step, 3), part)
        for i, part in enumerate(parts)
    )


def script_of(path: str) -> list[dict[str, Any]] | None:
    """The acts in a file; None if it is not a script."""
    try:
        acts = json.loads(Path(path).read_bytes())
    except (ValueError, UnicodeDecodeError):
        return None
    return acts if isinstance(acts, list) else None


class FakeEngine(EngineDefaults):
    """An ASR engine that plays a script."""

    name = "fake"
    provider = "Fake"
    install = "nothing to install"

    def models(self) -> tuple[OfferedModel, ...]:
        return tuple(
            OfferedModel(model, "aistack", "asr", ("en", "de", "zh"), streams, translate=True)
            for model, streams in (("fake-small", True), ("fake-large", True), ("fake-whole", False))
        )

    def warm(self) -> None:
        """Nothing heavy to import."""

    def load(self, model: ModelSpec, report: Report) -> None:
        loads = os.environ.get("AISTACK_FAKE_LOADS")
        if loads and Path(loads).exists():
            for act in json.loads(Path(loads).read_text()).get(model.id, ()):
                item = self._act(act, None)
                if isinstance(item, Progress):
                    report(item)

    def run(
        self, request: TranscriptionRequest, cancel: CancelToken
    ) -> Generator[Yielded, None, Transcript]:
        acts = script_of(request.path)
        if acts is None:
            size = Path(request.path).stat().st_size
            acts = [{"say": f"heard {size} bytes", "end": 1.0}]
        end = 0.0
        for act in acts:
            if cancel.is_set():
                break
            item = self._act(act, cancel)
            if isinstance(item, Segment):
                end = item.end
            if item is not None:
                yield item
        return Transcript(request.language or "en", end)

    def _act(self, act: dict[str, Any], cancel: CancelToken | None) -> Yielded | None:
        match act:
            case {"say": str(text)}:
                start, end = float(act.get("start", 0)), float(act.get("end", 1))
                return Segment(start, end, text, words_of(text, start, end))
            case {"progress": [done, total]}:
                return Progress(done, total, "s")
            case {"gate": str(name)}:
                pass_gate(name, cancel)
            case {"fail": str(how)}:
                raise _FAILURES[how]
            case {"crash": str(how)}:
                crash(how)
            case {"hang": where}:
                if isinstance(where, str):
                    pass_gate(where, cancel)
                while True:
                    signal.pause()
            case {"print": str(text)}:
                print(text, flush=True)  # noqa: T201 - what third-party libraries do
            case {"spam": int(size)}:
                sys.stderr.write("x" * size)
                sys.stderr.flush()
            case _:
                raise ValueError(f"no such act: {act}")
        return None


def crash(how: str) -> None:
    """End this process as real engines do."""
    if how == "exit":
        os._exit(3)
    os.kill(os.getpid(), signal.SIGKILL if how == "kill" else signal.SIGSEGV)


def pass_gate(name: str, cancel: CancelToken | None) -> None:
    """Say that we are here, and wait to be let through, or to be stopped."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as gate:
        gate.connect(os.environ["AISTACK_FAKE_GATES"])
        gate.sendall(name.encode() + b"\n")
        gate.settimeout(0.02)
        for _ in range(int(GATE_S / 0.02)):
            with contextlib.suppress(TimeoutError):
                gate.recv(1)
                return
            if cancel is not None and cancel.is_set():
                return
