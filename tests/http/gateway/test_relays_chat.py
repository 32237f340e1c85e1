"""A175 to A193 over HTTP: chat, as Ollama's own answer, by way of the slot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aistack.config.load import load_config
from aistack.service.assembly import assemble
from aistack.web.keys import UPSTREAMS
from tests.doubles.upstreams import CHAT, JSON, MODEL, Upstreams, begin_chat, chat
from tests.http.gateway.client import Answer, Call
from tests.http.gateway.service import Service, running

GENERATE = "/api/generate"


def completed(relays: Service, body: bytes | None = None, **members: Any) -> Answer:
    return begin_chat(relays.client, body, **members).answer()


def sent_up(upstreams: Upstreams) -> bytes:
    """The body of the one chat call that reached Ollama."""
    (call,) = upstreams.ollama.called(CHAT)
    return call.body


def data_of(answer: Answer) -> list[str]:
    """The data of every event of a stream."""
    return [line.removeprefix("data: ") for line in answer.text.splitlines() if line]


# --- bytes --------------------------------------------------------------------------------------------


def test_a175_the_answer_is_ollamas(relays: Service, upstreams: Upstreams) -> None:
    theirs = '{"id":"chatcmpl-1" ,  "choices": [], "odd": "\\u00e9", "usage": {"total_tokens": 1e2}}\n'
    upstreams.ollama.fail(CHAT, "status", status=200, body=theirs, headers={"X-Theirs": "1, 2"})
    answer = completed(relays)
    assert (answer.status, answer.body) == (200, theirs.encode())
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["content-length"] == str(len(theirs))
    assert answer.headers["x-theirs"] == "1, 2"


def test_a176_absent_keep_alive_is_30s_and_takes_effect(relays: Service, upstreams: Upstreams) -> None:
    assert completed(relays).status == 200
    assert json.loads(sent_up(upstreams))["keep_alive"] == "30s"
    (touch,) = upstreams.ollama.called(GENERATE)
    assert touch.json == {"model": MODEL, "keep_alive": "30s"}
    assert upstreams.ollama.runners[MODEL].keep_s == 30


@pytest.mark.parametrize("given", ["5m", "0", 0, -1, None, 12.5])
def test_a177_present_keep_alive_is_kept(given: Any, relays: Service, upstreams: Upstreams) -> None:
    body = chat(keep_alive=given)
    assert completed(relays, body).status == 200
    assert sent_up(upstreams) == body
    relays.quiet()
    assert (MODEL in upstreams.ollama.runners) is (given not in (0, "0")), "0 unloads after the call"


def test_a178_every_other_byte_goes_up_as_it_came(relays: Service, upstreams: Upstreams) -> None:
    body = (
        b' {"model" : "qwen3:4b",\n "messages":[{"role":"user","content":"h\\u00e9 \xc3\xa9"}],'
        b'"seed":12345678901234567890,"temperature":0.10,"tools":[],"options":{"num_ctx":4096},'
        b'"unheard_of":null}'
    )
    assert completed(relays, body).status == 200
    assert sent_up(upstreams).replace(b'"keep_alive": "30s", ', b"", 1) == body


def test_only_content_type_and_accept_go_up(relays: Service, upstreams: Upstreams) -> None:
    headers = {"Authorization": "Bearer secret", "Cookie": "a=b", "X-Other": "1", "Accept": "a/b"}
    assert relays.client.begin("POST", CHAT, chat(), {**JSON, **headers}).answer().status == 200
    (call,) = upstreams.ollama.called(CHAT)
    names = {name.lower() for name in call.headers}
    assert names <= {"host", "content-length", "content-type", "accept", "accept-encoding"}
    assert (call.headers["Accept"], call.headers["Content-Type"]) == ("a/b", "application/json")


# --- streams ------------------------------------------------------------------------------------------


def test_a179_a_stream_ends_with_done(relays: Service, upstreams: Upstreams) -> None:
    answer = completed(relays, stream=True)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
    assert answer.complete
    *chunks, end = data_of(answer)
    assert end == "[DONE]"
    said = [json.loads(chunk)["choices"][0]["delta"].get("content", "") for chunk in chunks]
    assert "".join(said) == "".join(upstreams.ollama.words)


def test_a180_the_first_token_comes_before_the_last_exists(
    relays: Service, upstreams: Upstreams
) -> None:
    call = first_token(relays, upstreams)
    assert upstreams.ollama.called(CHAT)[0].ended == "", "Ollama has not got any further"
    upstreams.open(upstreams.ollama)
    assert data_of(call.answer())[-1] == "[DONE]"


def first_token(relays: Service, upstreams: Upstreams) -> Call:
    """A stream of which one token is there, and no more can come before the gate opens."""
    upstreams.ollama.gate_at = 1
    upstreams.shut(upstreams.ollama)
    call = begin_chat(relays.client, stream=True)
    line = call.response.readline()
    assert json.loads(line.removeprefix(b"data: "))["choices"][0]["delta"]["content"] == "Hello"
    return call


def test_wire_49_a_stream_that_breaks_off_says_so(relays: Service, upstreams: Upstreams) -> None:
    upstreams.ollama.die_after = 2
    answer = completed(relays, stream=True)
    assert answer.status == 200
    assert not answer.complete, "never a clean end"
    last = answer.text.rstrip().splitlines()[-1]
    error = json.loads(last.removeprefix("data: "))["error"]
    assert (error["kind"], error["code"], error["provider"]) == ("unknown", "upstream_error", "ollama")
    assert "[DONE]" not in answer.text


# --- failures -----------------------------------------------------------------------------------------


def test_a183_ollama_is_down(relays: Service, upstreams: Upstreams) -> None:
    with upstreams.down(upstreams.ollama):
        answers = [completed(relays), completed(relays, stream=True)]
    for answer in answers:
        assert answer.status == 503
        assert (answer.error["kind"], answer.error["code"]) == ("network", "backend_unreachable")
        assert upstreams.ollama.url in answer.error["message"]
        assert "ollama serve" in answer.error["message"]
        assert "retry-after" not in answer.headers
        assert answer.headers["x-should-retry"] == "false"


def test_a184_an_unknown_model(relays: Service, upstreams: Upstreams) -> None:
    answer = completed(relays, model="nobody")
    assert answer.status == 400
    assert (answer.error["kind"], answer.error["code"]) == ("malformed", "model_not_found")
    assert (answer.error["provider"], answer.error["param"]) == ("ollama", "model")
    assert "nobody" in answer.error["message"]
    assert answer.error["upstream"]["status"] == 404


@pytest.mark.parametrize(
    ("theirs", "ours", "kind", "code", "retry"),
    [
        (400, 400, "malformed", "upstream_rejected", None),
        (413, 413, "overflow", "too_large", None),
        (429, 503, "network", "upstream_busy", "5"),
        (503, 503, "network", "upstream_busy", "5"),
        (500, 500, "unknown", "upstream_error", None),
        (502, 500, "unknown", "upstream_error", None),
    ],
)
def test_a184_an_error_of_ollamas(
    theirs: int,
    ours: int,
    kind: str,
    code: str,
    retry: str | None,
    relays: Service,
    upstreams: Upstreams,
) -> None:
    body = '{"error": {"message": "no luck", "type": "t", "param": null, "code": null, "more": 7}}'
    upstreams.ollama.fail(CHAT, "status", status=theirs, body=body)
    answer = completed(relays)
    assert (answer.status, answer.error["kind"], answer.error["code"]) == (ours, kind, code)
    assert (answer.error["message"], answer.error["provider"]) == ("no luck", "ollama")
    assert answer.error["more"] == 7, "their members are kept beside ours"
    assert answer.headers.get("retry-after") == retry


def test_a185_an_answer_that_is_not_http(relays: Service, upstreams: Upstreams) -> None:
    upstreams.ollama.fail(CHAT, "garbage")
    answer = completed(relays)
    assert (answer.status, answer.error["kind"]) == (500, "unknown")
    assert answer.error["code"] == "upstream_error"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'"text"', b"[1]", b"null", b"7"])
def test_a186_a187_only_a_json_object_is_a_chat(
    body: bytes, relays: Service, upstreams: Upstreams
) -> None:
    since = relays.mark
    answer = completed(relays, body)
    assert (answer.status, answer.error["kind"]) == (400, "malformed")
    assert answer.error["code"] == "invalid_body"
    assert relays.mark == since, "the slot is not touched"
    assert upstreams.ollama.calls == []


# --- leaving ------------------------------------------------------------------------------------------


def test_a188_leaving_a_stream_closes_ollamas_and_frees_the_slot(
    relays: Service, upstreams: Upstreams
) -> None:
    since = relays.mark
    call = first_token(relays, upstreams)
    call.close()
    assert upstreams.ended(upstreams.ollama, CHAT) == "cut"
    assert relays.ended(since) == "cancelled"
    upstreams.open(upstreams.ollama)
    assert completed(relays).status == 200


def test_a189_leaving_a_plain_call_does_the_same(relays: Service, upstreams: Upstreams) -> None:
    since = relays.mark
    upstreams.shut(upstreams.ollama)
    call = begin_chat(relays.client)
    upstreams.called(upstreams.ollama, CHAT)
    call.close()
    assert upstreams.ended(upstreams.ollama, CHAT) == "cut"
    assert relays.ended(since) == "cancelled"
    upstreams.open(upstreams.ollama)
    assert completed(relays).status == 200


def test_who_closes_at_done_was_not_cut_off(relays: Service) -> None:
    """A client that stops reading at `[DONE]` has its whole answer, and the next finds the slot free."""
    for _ in range(5):
        since = relays.mark
        call = begin_chat(relays.client, stream=True)
        while b"[DONE]" not in call.response.readline():
            pass
        call.close()
        assert relays.ended(since) == "ok"


# --- the rest -----------------------------------------------------------------------------------------


def test_a28_the_callers_id_wins_over_ollamas(relays: Service, upstreams: Upstreams) -> None:
    theirs = {"X-Request-ID": "theirs"}
    upstreams.ollama.fail(CHAT, "status", status=200, body="{}", headers=theirs)
    mine = relays.client.ask("POST", CHAT, chat(), {**JSON, "X-Request-ID": "mine.1"})
    none = completed(relays)
    upstreams.ollama.heal()
    upstreams.ollama.fail(CHAT, "status", status=400, headers=theirs)
    refused = relays.client.ask("POST", CHAT, chat(), {**JSON, "X-Request-ID": "mine.2"})
    ids = [
        [value for name, value in answer.all_headers if name.lower() == "x-request-id"]
        for answer in (mine, refused, none)
    ]
    assert ids[:2] == [["mine.1"], ["mine.2"]]
    ((own,),) = ids[2:]
    assert len(own) == 16
    assert own != "theirs"


def test_a192_the_addresses_come_from_the_environment(environment: Path, upstreams: Upstreams) -> None:
    env = {
        "XDG_CONFIG_HOME": str(environment),
        "AISTACK_OLLAMA__URL": upstreams.ollama.url,
        "AISTACK_QWEN_TTS__URL": upstreams.omni.url,
    }
    read = load_config(None, env).config
    addresses: dict[str, Any] = {
        "ollama": {"url": read.ollama.url},
        "qwen_tts": {"url": read.qwen_tts.url},
    }
    with running(environment / "from-env", {}, relays=True, **addresses) as service:
        assert completed(service).status == 200
        assert service.client.ask("POST", "/v1/audio/speech", b'{"input": "x"}', JSON).status == 200


def test_a193_the_model_is_unloaded_when_its_time_is_over(relays: Service, upstreams: Upstreams) -> None:
    """By Ollama's own clock: nothing of ours has to be awake for it."""
    assert completed(relays).status == 200
    for seconds, loaded in ((29, True), (2, False)):
        upstreams.ollama.clock.advance(seconds)
        upstreams.ollama.expire()
        assert (MODEL in upstreams.ollama.runners) is loaded


def test_a_wrong_method_is_405(relays: Service, upstreams: Upstreams) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = relays.client.ask(method, CHAT)
        assert (answer.status, answer.error["code"]) == (405, "method_not_allowed")
        assert answer.headers["allow"] == "POST"
    for path in ("/v1/chat", "/v1/completions", "/v1/embeddings", f"{CHAT}/"):
        assert relays.client.ask("POST", path, chat(), JSON).status == 404, "never a catch-all"
    assert upstreams.ollama.calls == []


def test_a169_the_limits_are_those_of_a_cold_start(environment: Path) -> None:
    """Up to 600 s without a byte are waited for."""
    outside: Any = assemble(
        load_config(None, {"XDG_CONFIG_HOME": str(environment)}).config, relays=True, engines={}
    )[UPSTREAMS]
    assert outside.speech.settings.read_s >= 600
    assert outside.ollama.settings.read_s >= 600
