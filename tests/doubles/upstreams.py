"""Doubles of Ollama and vLLM-Omni on a loop and a thread of their own, driven from plain functions."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from tests.doubles.base import Call as Asked
from tests.doubles.base import Double
from tests.doubles.ollama import Ollama
from tests.doubles.vllm_omni import VllmOmni
from tests.http.gateway.client import BOUND_S, Answer, Call, Client, acts
from tests.http.gateway.service import Gates, Service

JSON = {"Content-Type": "application/json"}
CHAT = "/v1/chat/completions"
SPEECH = "/v1/audio/speech"
VOICES = "/v1/audio/voices"
MODEL = "qwen3:4b"
TTS_ID = "qwen3-tts-12hz-0.6b-customvoice"
SAY = {"say": "one two", "end": 1}


class Upstreams:
    """`ollama` and `omni`. Their attributes may be read and set from here; what wakes their loop (a
    gate, a start, a stop) goes through the methods."""

    def __init__(self) -> None:
        self.ollama, self.omni = Ollama(), VllmOmni()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="upstreams")
        self._thread.start()
        for double in (self.ollama, self.omni):
            self.call(double.start())

    def call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(BOUND_S)

    @property
    def addresses(self) -> dict[str, Any]:
        """The sections of a configuration that name these two."""
        return {"ollama": {"url": self.ollama.url}, "qwen_tts": {"url": self.omni.url}}

    def until(self, double: Double, holds: Callable[[], bool]) -> None:
        """Wait until `holds()`; looked at whenever a call to `double` comes or ends."""
        self.call(double.until(holds, BOUND_S))

    def called(self, double: Double, path: str) -> Asked:
        """The first call of `path`, waited for."""
        self.until(double, lambda: bool(double.called(path)))
        return double.called(path)[0]

    def ended(self, double: Double, path: str) -> str:
        """How the last call of `path` ended, waited for."""
        self.until(double, lambda: bool(double.called(path)) and bool(double.called(path)[-1].ended))
        return double.called(path)[-1].ended

    def renew(self) -> None:
        """Nothing of what an earlier test did is left."""

        async def renewed() -> None:
            for double in (self.ollama, self.omni):
                double.heal()
                double.gate.set()
                double.calls.clear()
            ollama, omni = self.ollama, self.omni
            ollama.models.clear()
            ollama.install(MODEL)
            ollama.runners.clear()
            ollama.gate_at, ollama.die_after = 0, None
            omni.uploaded.clear()
            omni.healthy, omni.encoding, omni.checkpoint = True, "", "CustomVoice"

        self.call(renewed())

    def shut(self, double: Double) -> None:
        """Whoever comes to the gate of `double` waits."""
        self._loop.call_soon_threadsafe(double.gate.clear)
        self.call(asyncio.sleep(0))

    def open(self, double: Double) -> None:
        self._loop.call_soon_threadsafe(double.gate.set)

    @contextmanager
    def down(self, double: Double) -> Iterator[None]:
        """Nobody listens at the address of `double`."""
        port = double.port
        self.call(double.stop())
        try:
            yield
        finally:
            self.call(double.start(port))

    def close(self) -> None:
        for double in (self.ollama, self.omni):
            self.call(double.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(BOUND_S)
        assert not self._thread.is_alive()
        self._loop.close()


# --- calls --------------------------------------------------------------------------------------------


def chat(**members: Any) -> bytes:
    """A body of a chat."""
    value = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]} | members
    return json.dumps(value).encode()


def speech(**members: Any) -> bytes:
    """A body of a speech call."""
    return json.dumps({"input": "one two", "voice": "vivian"} | members).encode()


def begin_chat(client: Client, body: bytes | None = None, **members: Any) -> Call:
    return client.begin("POST", CHAT, chat(**members) if body is None else body, JSON)


def begin_speech(client: Client, body: bytes | None = None, **members: Any) -> Call:
    return client.begin("POST", SPEECH, speech(**members) if body is None else body, JSON)


KINDS = {"transcription": "transcribe", "chat": "chat", "speech": "speak"}
"""The capabilities, and what the gateway calls what they do."""


class Busy:
    """A service whose slot is held by a job of one kind, which goes on when told to."""

    def __init__(self, kind: str, service: Service, upstreams: Upstreams, gates: Gates) -> None:
        self.double = {"chat": upstreams.ollama, "speech": upstreams.omni}.get(kind)
        self.upstreams = upstreams
        if self.double is None:
            self.call = service.begin({"gate": "a"}, SAY)
            self._let_pass = gates.entered()
            return
        upstreams.shut(self.double)
        begin = begin_chat if kind == "chat" else begin_speech
        self.call = begin(service.client)
        upstreams.called(self.double, CHAT if kind == "chat" else SPEECH)

    def end(self) -> Answer:
        if self.double is None:
            self._let_pass()
        else:
            self.upstreams.open(self.double)
        return self.call.answer()


Hold = Callable[[str], Busy]
"""The fixture `hold`."""


def ask(kind: str, service: Service) -> Answer:
    """A plain call of one kind."""
    if kind == "transcription":
        return service.client.transcribe(acts(SAY))
    return (begin_chat if kind == "chat" else begin_speech)(service.client).answer()
