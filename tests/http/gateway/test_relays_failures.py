"""Every cell of the table of upstream failures, over HTTP; see `tests.http.gateway.failures`."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from aistack.relays.upstreams import Upstreams as OurUpstreams
from aistack.web.keys import UPSTREAMS
from tests.doubles.upstreams import CHAT, SPEECH, Upstreams, begin_chat, begin_speech
from tests.http.gateway.client import Answer
from tests.http.gateway.failures import KINDS, TABLE, Failure, page
from tests.http.gateway.service import Service

PAGE = Path(__file__).resolve().parents[3] / "docs" / "api" / "upstream-failures.md"
CONNECT_S, READ_S = 0.5, 1.0


def ask(kind: str, service: Service) -> Answer:
    if kind == "speech":
        return begin_speech(service.client).answer()
    return begin_chat(service.client, stream=kind == "chat, stream").answer()


@contextmanager
def deaf() -> Iterator[str]:
    """An address whose line of unaccepted connections is full: a further one gets no answer."""
    with ExitStack() as stack:
        listener = stack.enter_context(closing(socket.socket()))
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(closing(socket.socket()))
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def failing(row: Failure, kind: str, relays: Service, upstreams: Upstreams) -> Iterator[None]:
    """The upstream of `kind` as `row` has it, with limits that a test can wait for."""
    ours = relays.app[UPSTREAMS]
    assert isinstance(ours, OurUpstreams)
    relay = ours.speech if kind == "speech" else ours.ollama
    double: Any = upstreams.omni if kind == "speech" else upstreams.ollama
    before = relay.upstream.settings
    quick = evolve(before, connect_s=CONNECT_S, read_s=READ_S)
    relay.upstream.settings = quick
    try:
        with ExitStack() as stack:
            if row.connection == "refused":
                stack.enter_context(upstreams.down(double))
            elif row.connection == "ignored":
                url = stack.enter_context(deaf())
                relay.upstream.settings = evolve(quick, url=url)
            else:
                assert row.how is not None
                double.fail(SPEECH if kind == "speech" else CHAT, **row.how)
            yield
    finally:
        relay.upstream.settings = before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_a152_a166_a167_a168_a169_a183_a184_a185_every_cell(
    row: Failure, kind: str, relays: Service, upstreams: Upstreams
) -> None:
    told, since = row.told, relays.mark
    with failing(row, kind, relays, upstreams):
        answer = ask(kind, relays)
    assert answer.status == told.status
    assert answer.complete is not told.begun, "after the first byte there is never a clean end"
    if told.code and not told.begun:
        error = answer.error
        assert (error["kind"], error["code"]) == (told.kind, told.code)
        assert error["provider"] == ("Qwen3-TTS" if kind == "speech" else "ollama")
        assert answer.headers.get("retry-after") == ("5" if told.retry else None)
        hopeless = told.status == 500 or told.code == "backend_unreachable"
        assert answer.headers.get("x-should-retry") == ("false" if hopeless else None)
        if row.how is not None and row.how["do"] == "status":
            assert error["message"] == "made up"
            assert error["upstream"]["status"] == row.how["status"]
    elif told.begun and kind == "chat, stream":
        *relayed, last = [line for line in answer.text.split("\n\n") if line]
        assert all("choices" in json.loads(event.removeprefix("data: ")) for event in relayed)
        error = json.loads(last.removeprefix("data: "))["error"]
        assert (error["kind"], error["code"], error["provider"]) == (told.kind, told.code, "ollama")
    assert relays.ended(since) == ("failed" if told.code else "ok")
    relays.quiet()
    assert relays.snapshot.slots[0].holder is None
    upstreams.renew()
    again = ask(kind, relays)
    assert (again.status, again.complete) == (200, True)


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()
