"""The speech WebSocket (A164, wire row 42): refused before the upgrade, or the slot's holder."""

from __future__ import annotations

import json
from pathlib import Path
from socket import SHUT_RDWR
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType

from tests.doubles.upstreams import CHAT, Busy, Hold, Upstreams, ask, begin_chat, begin_speech
from tests.doubles.vllm_omni import tone
from tests.http.gateway.service import Service, running

PATH = "/v1/audio/speech/stream"


def session(service: Service, upstreams: Upstreams, *texts: str) -> tuple[list[Any], int | None]:
    """What a client hears that says `texts` and then that it is done; and the close code."""

    async def held() -> tuple[list[Any], int | None]:
        heard: list[Any] = []
        url = f"http://127.0.0.1:{service.port}{PATH}"
        async with aiohttp.ClientSession() as client, client.ws_connect(url) as socket:
            await socket.send_json({"type": "session.config", "voice": "vivian"})
            for text in texts:
                await socket.send_json({"type": "input.text", "text": text})
            await socket.send_json({"type": "input.done"})
            async for message in socket:
                binary = message.type is WSMsgType.BINARY
                heard.append(message.data if binary else json.loads(message.data)["type"])
            return heard, socket.close_code

    result: tuple[list[Any], int | None] = upstreams.call(held())
    return result


class Socket:
    """A client that has sent nothing yet, and holds the slot."""

    def __init__(self, service: Service, upstreams: Upstreams) -> None:
        self.upstreams = upstreams
        upstreams.call(self._connect(service.port))

    async def _connect(self, port: int) -> None:
        self.client = aiohttp.ClientSession()
        self.socket = await self.client.ws_connect(f"http://127.0.0.1:{port}{PATH}")

    def close(self) -> None:
        async def closed() -> None:
            await self.socket.close()
            await self.client.close()

        self.upstreams.call(closed())

    def vanish(self) -> None:
        """The connection goes without a close frame."""

        async def gone() -> None:
            self.socket.get_extra_info("socket").shutdown(SHUT_RDWR)
            await self.client.close()

        self.upstreams.call(gone())


def refused(service: Service, upstreams: Upstreams) -> tuple[int, dict[str, str]]:
    """Status and headers of a handshake that is refused."""

    async def tried() -> tuple[int, dict[str, str]]:
        async with aiohttp.ClientSession() as client:
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await client.ws_connect(f"http://127.0.0.1:{service.port}{PATH}")
        headers = caught.value.headers
        assert headers is not None
        return caught.value.status, {name.lower(): value for name, value in headers.items()}

    answer: tuple[int, dict[str, str]] = upstreams.call(tried())
    return answer


def test_a164_a_session_goes_both_ways(relays: Service, upstreams: Upstreams) -> None:
    since = relays.mark
    heard, code = session(relays, upstreams, "one two", "three")
    audio = ["audio.start", *tone("one two"), "audio.done", "audio.start", *tone("three"), "audio.done"]
    assert heard == [*audio, "session.done"]
    assert code == 1000
    assert relays.ended(since) == "ok"
    assert relays.path_of(since) == ["running", "streaming", "done"]
    assert ask("speech", relays).status == 200


@pytest.mark.parametrize("holder", ["transcription", "chat", "speech"])
def test_a_busy_slot_refuses_before_the_upgrade(
    holder: str, relays: Service, upstreams: Upstreams, hold: Hold
) -> None:
    busy: Busy = hold(holder)
    since = relays.mark
    status, headers = refused(relays, upstreams)
    assert (status, headers["retry-after"]) == (503, "5")
    assert headers["content-type"].startswith("application/json")
    assert headers["x-request-id"]
    assert upstreams.omni.called(PATH) == []
    assert relays.path_of(since) == ["done"]
    assert busy.end().status == 200


def test_an_absent_container_refuses_before_the_upgrade(relays: Service, upstreams: Upstreams) -> None:
    with upstreams.down(upstreams.omni):
        status, headers = refused(relays, upstreams)
    assert (status, "retry-after" in headers) == (503, False)
    assert session(relays, upstreams, "one")[1] == 1000


def test_an_open_socket_holds_the_slot(relays: Service, upstreams: Upstreams) -> None:
    since = relays.mark
    socket = Socket(relays, upstreams)
    for kind in ("transcription", "chat", "speech"):
        answer = ask(kind, relays)
        assert (answer.status, answer.error["holder"]["op"]) == (503, "speak")
    assert refused(relays, upstreams)[0] == 503
    socket.close()
    assert relays.reached("done", since + 4).job.op.value == "speak"
    relays.quiet()
    assert ask("transcription", relays).status == 200


@pytest.mark.parametrize("way", ["close", "vanish"])
def test_a170_leaving_a_socket_closes_the_containers_and_frees_the_slot(
    way: str, relays: Service, upstreams: Upstreams
) -> None:
    since = relays.mark
    socket = Socket(relays, upstreams)
    getattr(socket, way)()
    relays.reached("done", since)
    assert upstreams.ended(upstreams.omni, PATH) == "done"
    relays.quiet()
    assert relays.snapshot.slots[0].holder is None
    assert begin_speech(relays.client).answer().status == 200


def test_the_end_of_the_service_ends_a_chat_and_a_socket(
    environment: Path, upstreams: Upstreams
) -> None:
    """After the grace the chat is told in-band and cut, the socket closed, and so are the upstreams."""
    for kind in ("chat", "socket"):
        with running(environment / f"ending-{kind}", {}, relays=True, **upstreams.addresses) as service:
            if kind == "socket":
                socket = Socket(service, upstreams)
                service.drain()
                assert upstreams.call(socket.socket.receive()).type is WSMsgType.CLOSE
                socket.close()
                assert upstreams.ended(upstreams.omni, PATH) == "done"
                continue
            upstreams.ollama.gate_at = 1
            upstreams.shut(upstreams.ollama)
            call = begin_chat(service.client, stream=True)
            assert call.response.readline()
            service.drain()
            answer = call.answer()
            last = json.loads(answer.text.rstrip().splitlines()[-1].removeprefix("data: "))
            assert (last["error"]["code"], answer.complete) == ("shutting_down", False)
            assert upstreams.ended(upstreams.ollama, CHAT) == "cut"


def test_a_plain_get_of_the_path_is_relayed(relays: Service, upstreams: Upstreams) -> None:
    """The container, not we, says that it wants an upgrade."""
    answer = relays.client.get(PATH)
    assert (answer.status, answer.error["code"]) == (400, "upstream_rejected")
    assert len(upstreams.omni.called(PATH)) == 1
