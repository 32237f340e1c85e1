"""What the tests of the internal API ask, over HTTP, and what they expect of every stream."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aistack.service.app import BROKEN
from tests.http.gateway.client import Answer, Call
from tests.http.gateway.service import Service, running
from tests.unit.engines.nanochat.conftest import ADA, BO, COUNT, ROOT

__all__ = ["ADA", "AUTH", "BO", "COUNT", "EMOJI", "KEY", "ODD", "ROOT", "WHO"]

KEY = "the-internal-key"
AUTH = {"X-Internal-API-Key": KEY}
WHO = "Who are you?"
ODD = "Show me odd line ends."
EMOJI = "Show me emoji."
LONG_S = 90.0
"""Bound of whatever imports torch on a slow machine."""
DIRECTED = {"nanochat": "tests.doubles.directed_nanochat:Directed"}
REAL = {"nanochat": "aistack.engines.nanochat.engine:Nanochat"}


def user(*texts: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text} for text in texts]


def begin(service: Service, *texts: str, headers: dict[str, str] | None = None, **options: Any) -> Call:
    """A `/generate` that was sent: user messages (leading ones may be directions), greedy."""
    body = {"messages": user(*texts), "temperature": 0, **options}
    return post(service, "/generate", body, headers)


def post(service: Service, path: str, body: Any, headers: dict[str, str] | None = None) -> Call:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return service.client.begin("POST", path, data, AUTH | (headers or {}))


def ask(service: Service, *texts: str, **options: Any) -> str:
    """The text of a whole answer."""
    return text_of(begin(service, *texts, **options).answer())


def text_of(answer: Answer) -> str:
    """The joined tokens of a stream that ended well: exactly one done, last."""
    assert answer.status == 200, answer.text
    assert answer.complete
    events = answer.events
    assert events[-1] == {"done": True}, events[-1]
    assert all(type(event["token"]) is str and event["token"] for event in events[:-1])
    assert all(type(event["gpu"]) is int for event in events[:-1])
    return "".join(event["token"] for event in events[:-1])


def refused(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.error["code"]) == (status, code)


def get(service: Service, path: str) -> dict[str, Any]:
    answer = service.client.get(path, AUTH)
    assert answer.status == 200
    told: dict[str, Any] = answer.json
    return told


def stats(service: Service) -> dict[str, Any]:
    return get(service, "/stats")


def current(service: Service) -> str | None:
    """The current tag, on which everybody who tells it must agree."""
    health = service.client.get("/health").json["current_model"]
    assert health == get(service, "/models")["current_model"] == stats(service)["model_tag"]
    return health  # type: ignore[no-any-return]


def swap(service: Service, tag: Any) -> Answer:
    return post(service, "/models/swap", {"model_tag": tag}).answer()


def swapped(service: Service, tag: str) -> dict[str, Any]:
    """Swap, and wait for the end of it; what `/stats` then says of it."""
    answer = swap(service, tag)
    assert answer.status == 202, answer.text
    service.quiet()
    last: dict[str, Any] = stats(service)["last_swap"]
    assert last["model_tag"] == tag or answer.json["status"] == "ok"
    return last


def until(service: Service, holds: Callable[[], bool], what: str) -> None:
    """Look at what only an answer tells: now, and after each further transition; bounded.

    Looking is done outside the lock, which the service takes at every transition.
    """
    end = time.monotonic() + LONG_S
    seen = service.mark
    while not holds():
        with service.changed:
            left = end - time.monotonic()
            came = service.changed.wait_for(lambda seen=seen: service.mark > seen, left)  # type: ignore[misc]
        assert came, f"not within {LONG_S:g} s: {what}"
        seen = service.mark


@contextmanager
def serving(folder: Path, targets: dict[str, str] = DIRECTED, /, **sections: Any) -> Iterator[Service]:
    """The assembled service with the tiny weights; tiny-ada is current unless said otherwise."""
    settings = {"api_key": KEY, "root": str(ROOT), "model": "tiny-ada"}
    inference = settings | sections.pop("inference", {})
    engines = {"threads": 1, "spare": "on"} | sections.pop("engines", {})
    with running(folder, targets, inference=inference, engines=engines, **sections) as service:
        service.bound_s = LONG_S
        service.quiet()
        assert not service.app[BROKEN].is_set()
        yield service
