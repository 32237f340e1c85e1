"""Clients that read slowly or never: the upstream is held back, the slot is free in bounded time."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.doubles import vllm_omni
from tests.doubles.engines import FAMILIES
from tests.doubles.upstreams import CHAT, SPEECH, Upstreams, ask, chat, speech
from tests.http.gateway.client import BOUND_S
from tests.http.gateway.service import Gates, Service, running

LARGE = 24_000_000
"""Bytes the upstream has to say: more than the window and all buffers on the way hold."""
BLOCK = 60_000
LITTLE = 1000
PACE_S = 0.005
STALL_S, SLOW_S = 0.5, 1.0


@pytest.fixture
def talkative(upstreams: Upstreams, monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstreams]:
    """Upstreams whose streams are `LARGE`, as fast as they are taken."""
    words = upstreams.ollama.words
    upstreams.ollama.words = ("x" * BLOCK,) * (LARGE // BLOCK)
    blocks = [bytes(BLOCK)] * (LARGE // BLOCK)
    monkeypatch.setattr(vllm_omni, "tone", lambda text: blocks)
    yield upstreams
    upstreams.ollama.words = words


@contextmanager
def service(folder: Path, upstreams: Upstreams, stall_s: float, slow_s: float) -> Iterator[Service]:
    with running(
        folder,
        {"whisper": FAMILIES["whisper"]},
        relays=True,
        server={"send_timeout_s": stall_s},
        slots={"slow_client_s": slow_s},
        **upstreams.addresses,
    ) as service:
        yield service


@contextmanager
def reader(service: Service, kind: str) -> Iterator[socket.socket]:
    """A client with a small buffer that has asked for a stream and has seen its beginning."""
    path = CHAT if kind == "chat" else SPEECH
    body = (
        chat(stream=True)
        if kind == "chat"
        else speech(stream=True, stream_format="audio", response_format="pcm")
    )
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(BOUND_S)
        client.connect(("127.0.0.1", service.port))
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert client.recv(LITTLE).startswith(b"HTTP/1.1 200")
        yield client


def rest(client: socket.socket) -> bytes:
    """What still comes until the connection ends, whichever way it does."""
    data = bytearray()
    try:
        while piece := client.recv(1 << 16):
            data += piece
    except ConnectionError:
        pass
    return bytes(data)


def held_back(upstreams: Upstreams, kind: str) -> bool:
    """Whether the upstream could not say all it had to, because nobody took it."""
    double, path = (upstreams.ollama, CHAT) if kind == "chat" else (upstreams.omni, SPEECH)
    return upstreams.ended(double, path) == "cut"


@pytest.mark.parametrize("kind", ["chat", "speech"])
def test_who_never_reads_is_cut_off_and_the_slot_is_free(
    kind: str, tmp_path: Path, gates: Gates, talkative: Upstreams
) -> None:
    with service(tmp_path, talkative, STALL_S, 10 * BOUND_S) as relays:
        since = relays.mark
        with reader(relays, kind) as client:
            assert relays.ended(since) == "cancelled"
            assert held_back(talkative, kind)
            assert len(rest(client)) < LARGE / 2, "what was on its way is bounded"
        talkative.renew()
        assert ask("transcription", relays).status == 200


@pytest.mark.parametrize("kind", ["chat", "speech"])
def test_who_reads_too_slowly_frees_the_slot_at_the_limit(
    kind: str, tmp_path: Path, gates: Gates, talkative: Upstreams
) -> None:
    """It takes a little now and then, so that it never stalls, and is cut by the other limit."""
    pace = threading.Event()  # never set: a slow reader is one that waits
    with service(tmp_path, talkative, 10 * BOUND_S, SLOW_S) as relays:
        since = relays.mark
        with reader(relays, kind) as client:
            while not any(t.target.value == "done" for t in relays.transitions[since:]):
                assert client.recv(LITTLE)
                pace.wait(PACE_S)
            ended = relays.reached("done", since).job.outcome
            assert ended is not None and ended.fault is not None
            assert (ended.kind.value, ended.fault.code.value) == ("failed", "cancelled")
            assert held_back(talkative, kind)
            talkative.renew()
            assert ask("transcription", relays).status == 200, "while the slow one still reads"
            left = rest(client)
        assert not left.endswith(b"0\r\n\r\n"), "no clean end"
        assert len(left) < LARGE / 2
        if kind == "chat":
            last = left.rpartition(b"data: ")[2].partition(b"\n")[0]
            assert json.loads(last)["error"]["kind"] == "cancelled"


def test_a_slow_reader_of_an_answer_that_fits_holds_no_slot(
    tmp_path: Path, gates: Gates, upstreams: Upstreams
) -> None:
    with service(tmp_path, upstreams, 10 * BOUND_S, SLOW_S) as relays:
        since = relays.mark
        with reader(relays, "chat") as client:
            assert relays.ended(since) == "ok"
            assert ask("transcription", relays).status == 200
            client.shutdown(socket.SHUT_WR)
            rest(client)
