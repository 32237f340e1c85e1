"""The comparison of answers with the reference sees a drift."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aistack.errors import Code, malformed
from aistack.web.faults import answer
from tests.support.checked import check

HEALTH = {"status": "ok", "version": "0.1.0", "ready": False, "current_model": None}
HEAR = "/v1/audio/transcriptions"
KNOWN = {"x-request-id": "abc", "content-type": "application/json; charset=utf-8"}
HEARD = {**KNOWN, "x-aistack-model": "whisper-small"}
SSE = {**HEARD, "content-type": "text/event-stream"}
DONE = {"type": "transcript.text.done", "text": "", "language": "en", "duration": 1.0}


def sent(value: Any) -> bytes:
    return json.dumps(value).encode()


def envelope(code: Code) -> bytes:
    body = answer(malformed("x", code)).body
    assert isinstance(body, bytes)
    return body


def test_what_the_reference_tells_is_fine() -> None:
    check("GET", "/health", 200, KNOWN, sent(HEALTH))
    check("HEAD", "/health", 200, KNOWN, b"")
    check("GET", "/v1/models/a/b%2Fc?x=1", 404, KNOWN, envelope(Code.MODEL_NOT_FOUND))
    check("POST", HEAR, 200, HEARD, sent({"text": "one"}))
    check("POST", HEAR, 200, SSE, b": ping\n\ndata: " + sent(DONE) + b'\n\ndata: {"cut', complete=False)
    check("DELETE", HEAR, 405, KNOWN, envelope(Code.METHOD_NOT_ALLOWED))
    chunk = {"object": "chat.completion.chunk", "model": "m", "choices": []}
    chat = b"data: " + sent(chunk) + b"\n\ndata: [DONE]\n\n"
    check("POST", "/v1/chat/completions", 200, {**KNOWN, "content-type": "text/event-stream"}, chat)


@pytest.mark.parametrize(
    ("method", "target", "status", "headers", "body", "why"),
    [
        ("GET", "/health", 202, KNOWN, sent(HEALTH), "the reference has"),
        (
            "GET",
            "/health",
            200,
            {**KNOWN, "content-type": "text/html"},
            sent(HEALTH),
            "text/html is not in",
        ),
        ("GET", "/health", 200, {"content-type": "application/json"}, sent(HEALTH), "no X-Request-ID"),
        ("GET", "/health", 200, KNOWN, sent({**HEALTH, "ready": "no"}), "'no' is not of type 'boolean'"),
        ("GET", "/health", 200, KNOWN, sent({**HEALTH, "more": 1}), "Additional properties"),
        ("GET", "/health", 200, KNOWN, sent({"status": "ok"}), "'version' is a required property"),
        ("GET", "/health", 500, KNOWN, sent({"detail": "x"}), "'error' is a required property"),
        ("GET", "/nowhere", 404, KNOWN, sent({"detail": "x"}), "'error' is a required property"),
        ("GET", "/health", 403, KNOWN, envelope(Code.UPSTREAM_BUSY), "upstream_busy is not in"),
        ("POST", HEAR, 200, SSE, b"data: " + sent({**DONE, "text": None}) + b"\n\n", "is not valid"),
        ("POST", HEAR, 200, KNOWN, sent({"text": ""}), "no X-Aistack-Model"),
        (
            "POST",
            HEAR,
            503,
            {**KNOWN, "retry-after": "-1"},
            envelope(Code.SLOT_BUSY),
            "less than the minimum",
        ),
    ],
)
def test_a_drift_is_seen(
    method: str, target: str, status: int, headers: dict[str, str], body: bytes, why: str
) -> None:
    with pytest.raises(AssertionError, match=why):
        check(method, target, status, headers, body)
