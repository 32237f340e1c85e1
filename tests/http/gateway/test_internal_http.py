"""The internal inference API (seed 004) over HTTP without an engine: keys, bodies, lists, swaps.

B numbers are those of the inference API's check list. Nothing here loads weights: the engine's library
is one that no machine has.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import fields_dict

from aistack.config import InferenceSection
from aistack.contract.internal import (
    CONTENT_MAX,
    MESSAGES_MAX,
    TEMPERATURE_MAX,
    TOKENS_MAX,
    TOP_K_MAX,
    TOTAL_MAX,
)
from aistack.observe.job_line import job_ids
from tests.http.gateway.client import Answer
from tests.http.gateway.service import Service, running
from tests.support.listening import ROOT

KEY = "the-key"
AUTH = {"X-Internal-API-Key": KEY}
WEIGHTS = ROOT / "tests" / "data" / "models" / "tiny-nanochat"
TAGS = ["tiny-ada", "tiny-ada-hf", "tiny-bo", "tiny-bo-hf"]
ROUTES = [("POST", "/generate"), ("GET", "/models"), ("POST", "/models/swap"), ("GET", "/stats")]
ENGINE = {"nanochat": "tests.doubles.engines:NoLibrary"}
HI: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def internal_(environment: Path) -> Iterator[Service]:
    settings = {"api_key": KEY, "root": str(WEIGHTS)}
    with running(environment / "internal", ENGINE, inference=settings) as service:
        yield service


@pytest.fixture
def internal(internal_: Service) -> Iterator[Service]:
    """Shared by tests that select nothing."""
    yield internal_
    internal_.quiet()
    assert internal_.snapshot.selected is None


@pytest.fixture
def own(environment: Path, tmp_path: Path) -> Iterator[Service]:
    """A service for a test that changes weights, or adds some."""
    for tag in TAGS:
        (tmp_path / tag).symlink_to(WEIGHTS / tag)
    settings = {"api_key": KEY, "root": str(tmp_path)}
    with running(environment / tmp_path.name, ENGINE, inference=settings) as service:
        yield service


def post(service: Service, path: str, body: Any, headers: dict[str, str] | None = None) -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return service.client.ask("POST", path, data, AUTH if headers is None else headers)


def swap(service: Service, tag: Any) -> Answer:
    return post(service, "/models/swap", {"model_tag": tag})


def get(service: Service, path: str) -> dict[str, Any]:
    answer = service.client.get(path, AUTH)
    assert answer.status == 200
    told: dict[str, Any] = answer.json
    return told


# --- the key ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Internal-API-Key": ""},
        {"X-Internal-API-Key": "wrong"},
        {"X-Internal-API-Key": KEY + "x"},
        {"X-Internal-API-Key": "\xe9"},
        {"Authorization": f"Bearer {KEY}"},
        {"INTERNAL_API_KEY": KEY},
        {"X-API-Key": KEY},
    ],
)
def test_b8_b9_b10_b11_b14_b15_without_the_key_401(
    headers: dict[str, str], method: str, path: str, internal: Service
) -> None:
    since = internal.mark
    answer = internal.client.ask(method, path, b"{not json" if method == "POST" else None, headers)
    assert (answer.status, answer.error["kind"]) == (401, "malformed")
    assert (answer.error["code"], answer.error["provider"]) == ("unauthorized", "aistack")
    assert KEY not in answer.text
    assert internal.mark == since


@pytest.mark.parametrize("path", ["/generate", "/models/swap"])
def test_the_key_is_looked_at_before_the_body_is_read(path: str, internal: Service) -> None:
    """The body never comes, the answer does; and who holds it back is not told to go on."""
    for more in ({}, {"Expect": "100-continue"}):
        call = internal.client.begin("POST", path, None, {"Content-Length": "1000", **more})
        assert call.answer().status == 401
    huge = {"Content-Length": str(10**12)}
    assert internal.client.begin("POST", path, None, huge).answer().status == 401
    assert internal.client.begin("POST", path, None, huge | AUTH).answer().status == 413


def test_b12_the_headers_name_in_any_case(internal: Service) -> None:
    assert internal.client.get("/stats", {"x-INTERNAL-api-KEY": KEY}).status == 200


@pytest.mark.parametrize("sent", [{}, AUTH, {"X-Internal-API-Key": ""}])
def test_b7_b13_without_a_configured_key_503(sent: dict[str, str], fakes: Service) -> None:
    for method, path in ROUTES:
        answer = fakes.client.ask(method, path, b"{" if method == "POST" else None, sent)
        assert (answer.status, answer.error["code"]) == (503, "not_configured")
        assert "retry-after" not in answer.headers
        assert answer.headers["x-should-retry"] == "false"
    assert fakes.client.get("/health").status == 200


def test_the_gateways_keys_are_not_the_internal_one(environment: Path) -> None:
    settings = {"api_key": KEY, "root": str(WEIGHTS)}
    keys = {"api_keys": ("outer",)}
    with running(environment / "keys", {}, inference=settings, server=keys) as service:
        assert service.client.get("/stats", AUTH).status == 200
        assert service.client.get("/stats", {"Authorization": "Bearer outer"}).status == 401
        assert service.client.get("/v1/models", AUTH).status == 401


# --- bodies -------------------------------------------------------------------------------------------

WRONG: list[tuple[str, Any]] = [
    ("b28", {}),
    ("b29", {"messages": None}),
    ("b29", {"messages": "hi"}),
    ("b29", {"messages": [{"role": "user"}]}),
    ("b29", {"messages": [{"content": "hi"}]}),
    ("b29", {"messages": ["hi"]}),
    ("b30", {"messages": [{"role": "user", "content": 7}]}),
    ("b30", {"messages": [{"role": None, "content": "hi"}]}),
    ("b31", b""),
    ("b31", b"{"),
    ("b31", b"\xff\xfe"),
    ("b31", [1]),
    ("b32", {"messages": HI, "stream": True}),
    ("b32", {"messages": HI, "model": "tiny-ada"}),
    ("b33", {"messages": [{"role": "user", "content": "hi", "name": "x"}]}),
    ("b34", {"messages": []}),
    ("b35", {"messages": HI * 501}),
    ("b36", {"messages": [*HI, {"role": "user", "content": ""}]}),
    ("b37", {"messages": [{"role": "user", "content": "x" * 8001}]}),
    ("b38", {"messages": [{"role": "user", "content": "x" * 8000}] * 4 + HI}),
    ("b40", {"messages": [{"role": "system", "content": "hi"}]}),
    ("b42", {"messages": HI, "temperature": -0.1}),
    ("b42", {"messages": HI, "temperature": 2.1}),
    ("b42", b'{"messages": [{"role": "user", "content": "hi"}], "temperature": NaN}'),
    ("b43", {"messages": HI, "temperature": "1"}),
    ("b43", {"messages": HI, "temperature": True}),
    ("b44", {"messages": HI, "top_k": -1}),
    ("b44", {"messages": HI, "top_k": 201}),
    ("b45", {"messages": HI, "max_tokens": 0}),
    ("b45", {"messages": HI, "max_tokens": 4097}),
    ("b46", {"messages": HI, "max_tokens": 1.5}),
]
RIGHT: list[tuple[str, dict[str, Any]]] = [
    ("b35", {"messages": HI * 500}),
    ("b37", {"messages": [{"role": "user", "content": "x" * 8000}] * 4}),
    ("b39", {"messages": [{"role": "user", "content": "\N{GRINNING FACE}" * 8000}]}),
    ("b41", {"messages": [{"role": "assistant", "content": "hi"}, *HI, *HI]}),
    ("b42", {"messages": HI, "temperature": 0}),
    ("b42", {"messages": HI, "temperature": 2}),
    ("b44", {"messages": HI, "top_k": 0}),
    ("b44", {"messages": HI, "top_k": 200}),
    ("b45", {"messages": HI, "max_tokens": 1}),
    ("b45", {"messages": HI, "max_tokens": 4096}),
    ("b46", {"messages": HI, "max_tokens": 2.0}),
    ("b47", {"messages": HI, "temperature": None, "top_k": None, "max_tokens": None}),
]


@pytest.mark.parametrize(
    "body", [body for _, body in WRONG], ids=[f"{name}-{place}" for place, (name, _) in enumerate(WRONG)]
)
def test_b28_to_b46_b50_a_wrong_body_is_400(body: Any, internal: Service) -> None:
    """Before it is asked whether there is anything to generate with."""
    since = internal.mark
    answer = post(internal, "/generate", body)
    assert (answer.status, answer.error["kind"]) == (400, "malformed")
    assert answer.error["code"] in ("missing_field", "invalid_field", "invalid_body")
    assert internal.mark == since, "no job"


@pytest.mark.parametrize(
    "body", [body for _, body in RIGHT], ids=[f"{name}-{place}" for place, (name, _) in enumerate(RIGHT)]
)
def test_b35_to_b47_b51_a_right_body_finds_nothing_selected(
    body: dict[str, Any], internal: Service
) -> None:
    answer = post(internal, "/generate", body)
    assert (answer.status, answer.error["kind"]) == (503, "network")
    assert answer.error["code"] == "model_load_failed"
    assert "retry-after" not in answer.headers
    assert "/models/swap" in answer.error["message"]


def test_b36_an_empty_message_is_named(internal: Service) -> None:
    error = post(internal, "/generate", {"messages": [*HI, {"role": "user", "content": ""}]}).error
    assert error["param"] == "messages.1.content"


def test_unknown_fields_can_be_tolerated(environment: Path) -> None:
    settings = {"api_key": KEY, "tolerate_unknown_fields": True}
    with running(environment / "tolerant", ENGINE, inference=settings) as service:
        assert post(service, "/generate", {"messages": HI, "stream": True}).status == 503
        assert post(service, "/generate", {"messages": HI, "top_k": "many"}).status == 400


# --- what there is ------------------------------------------------------------------------------------


def test_b3_b7_health_without_weights(internal: Service) -> None:
    told = internal.client.get("/health").json
    assert (told["status"], told["ready"], told["current_model"]) == ("ok", False, None)


def test_b61_b62_b63_b65_the_list(internal: Service) -> None:
    told = get(internal, "/models")
    assert set(told) == {"current_model", "models"}
    assert told["current_model"] is None
    assert [entry["model_tag"] for entry in told["models"]] == TAGS
    for entry in told["models"]:
        assert set(entry) == {"model_tag", "source", "path", "loaded"}
        assert entry["loaded"] is False
        assert Path(entry["path"]) == WEIGHTS / entry["model_tag"]
        assert entry["source"] == ("huggingface" if entry["model_tag"].endswith("-hf") else "nanochat")


def test_b64_new_weights_appear_without_a_restart(own: Service, tmp_path: Path) -> None:
    assert [entry["model_tag"] for entry in get(own, "/models")["models"]] == TAGS
    (tmp_path / "aaa").symlink_to(WEIGHTS / "tiny-bo")
    (tmp_path / "empty").mkdir()
    (tmp_path / "tokenizer").symlink_to(WEIGHTS / "tiny-bo")
    assert [entry["model_tag"] for entry in get(own, "/models")["models"]] == ["aaa", *TAGS]


def test_no_root_is_no_weights(environment: Path) -> None:
    with running(environment / "no-root", ENGINE, inference={"api_key": KEY}) as service:
        assert get(service, "/models") == {"current_model": None, "models": []}
        assert swap(service, "tiny-ada").status == 404


def test_stats_of_an_idle_service(internal: Service) -> None:
    told = get(internal, "/stats")
    assert told["workers"] == [{"gpu_id": 0, "device": "cpu", "model_tag": None, "resident": None}]
    assert {name: value for name, value in told.items() if name != "workers"} == {
        "total_workers": 1,
        "available_workers": 1,
        "busy_workers": 0,
        "draining": False,
        "model_tag": None,
        "queue_depth": 0,
        "tokens_generated_total": 0,
        "tokens_per_second": 0,
        "active_generations": 0,
        "requests_total": told["requests_total"],
        "failures_total": 0,
        "model_load_seconds": None,
        "last_swap": None,
    }


def test_the_page_tells_every_member_and_limit(internal: Service) -> None:
    page = (ROOT / "docs" / "api" / "internal.md").read_text(encoding="utf-8")
    told = get(internal, "/stats")
    members = {*told, *told["workers"][0], *internal.client.get("/health").json}
    members |= {*get(internal, "/models"), *get(internal, "/models")["models"][0]}
    assert [
        name for name in sorted(members) if f"`{name}`" not in page and f'"{name}"' not in page
    ] == []
    for limit in (MESSAGES_MAX, CONTENT_MAX, TOTAL_MAX, TEMPERATURE_MAX, TOP_K_MAX, TOKENS_MAX):
        assert re.search(rf"\b{limit:g}\b", page), limit
    settings = fields_dict(InferenceSection)
    for name in ("temperature", "top_k", "max_tokens"):
        assert f"| {settings[name].default:g} (`inference.{name}`) |" in page
    for name in settings:
        assert f"inference.{name}" in page, name


@pytest.mark.parametrize(
    ("sent", "told"),
    [("mine.1", "mine.1"), (" mine.1 ", "mine.1"), ("x" * 128, "x" * 128)]
    + [(word, None) for word in (None, "", "a b", "x" * 129, "..", "\xe9")],
)
def test_b91_the_trace_id_is_on_every_answer(sent: str | None, told: str | None, own: Service) -> None:
    """And on the line of the log about the job; without a harmless one it is the request's id."""
    headers = {"X-Request-ID": "req.1"} | ({} if sent is None else {"x-trace-id": sent})
    told = told or "req.1"
    since = own.mark
    body = json.dumps({"messages": HI, "model_tag": "tiny-bo"}).encode()
    for method, path in ROUTES:
        for key in (AUTH, {}):
            answer = own.client.ask(method, path, body if method == "POST" else None, key | headers)
            assert (answer.headers["x-trace-id"], answer.headers["x-request-id"]) == (told, "req.1")
    assert "x-trace-id" not in own.client.get("/health", headers).headers
    own.quiet()
    done = own.reached("done", since)
    assert (done.job.op.value, job_ids(done.job)["trace_id"]) == ("swap", told)


@pytest.mark.parametrize("sent", ["conversation.7", None, "", "a b", "x" * 129])
def test_b92_the_conversations_trace_id_is_echoed_when_sent(sent: str | None, internal: Service) -> None:
    """On good answers and refusals; what is no harmless word is not sent back."""
    headers = {} if sent is None else {"x-session-trace-id": sent}
    told = "conversation.7" if sent == "conversation.7" else None
    for key in (AUTH, {}):
        for method, path in ROUTES:
            answer = internal.client.ask(method, path, b"{" if method == "POST" else None, key | headers)
            assert answer.headers.get("x-session-trace-id") == told
    assert "x-session-trace-id" not in internal.client.get("/health", headers).headers


def test_b90_wrong_methods_are_405_unknown_paths_404(internal: Service) -> None:
    for method, path in ROUTES:
        other = "GET" if method == "POST" else "POST"
        assert internal.client.ask(other, path, None, AUTH).status == 405
        assert internal.client.ask(method, f"{path}/", None, AUTH).status == 404
    assert internal.client.get("/nothing", AUTH).error["code"] == "not_found"


# --- changing weights ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [{}, {"model_tag": None}, {"model_tag": 7}, {"model_tag": ["tiny-ada"]}, [], b"", b"{"]
)
def test_b68_a_swap_needs_a_tag(body: Any, internal: Service) -> None:
    answer = post(internal, "/models/swap", body)
    assert (answer.status, answer.error["kind"]) == (400, "malformed")


@pytest.mark.parametrize(
    "tag",
    [
        "",
        "..",
        "../tiny-ada",
        "a/b",
        "a\\b",
        "/etc",
        "a..b",
        ".hidden",
        "~",
        "a\0b",
        "a\nb",
        "x" * 101,
        "C:x",
    ],
)
def test_b81_an_invalid_tag_is_400(tag: str, internal: Service) -> None:
    since = internal.mark
    answer = swap(internal, tag)
    assert (answer.status, answer.error["code"]) == (400, "invalid_field")
    assert answer.error["param"] == "model_tag"
    assert internal.mark == since


@pytest.mark.parametrize("tag", ["nobody", "README.md", "tiny-ada.pt"])
def test_b77_b78_an_unknown_tag_is_404_and_disturbs_nothing(tag: str, internal: Service) -> None:
    since = internal.mark
    answer = swap(internal, tag)
    assert (answer.status, answer.error["code"]) == (404, "model_not_found")
    assert str(WEIGHTS) not in answer.text
    assert internal.mark == since
    assert get(internal, "/stats")["last_swap"] is None


def test_b67_b69_b71_b79_b80_a_swap_whose_library_is_missing(own: Service) -> None:
    since = own.mark
    answer = post(own, "/models/swap", {"model_tag": "tiny-ada", "why": "extra members are fine"})
    assert (answer.status, answer.json) == (202, {"status": "accepted", "current_model": "tiny-ada"})
    assert own.ended(since) == "failed"
    last = get(own, "/stats")["last_swap"]
    assert (last["model_tag"], last["status"]) == ("tiny-ada", "failed")
    assert f"{shlex.quote(sys.executable)} -m pip install no-such-library" in last["error"]
    assert "no_such_library" not in last["error"], "a sentence, not an exception"
    told = own.client.get("/health").json
    assert (told["ready"], told["current_model"]) == (False, None)
    assert get(own, "/models")["current_model"] is None
    assert get(own, "/stats")["draining"] is False
    assert post(own, "/generate", {"messages": HI}).status == 503
    own.quiet()


def test_a_model_configured_at_start_that_does_not_load(environment: Path) -> None:
    settings = {"api_key": KEY, "root": str(WEIGHTS), "model": "tiny-bo"}
    with running(environment / "at-start", ENGINE, inference=settings) as service:
        assert service.ended(0) == "failed"
        told = service.client.get("/health").json
        assert (told["status"], told["ready"]) == ("ok", False)
        assert get(service, "/stats")["last_swap"]["status"] == "failed"
