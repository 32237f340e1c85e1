"""Ids, envelopes, keys and the guard, over real sockets."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
import structlog
from aiohttp import web
from aiohttp.http import HttpVersion10
from aiohttp.test_utils import make_mocked_request

from aistack.config import Config, ServerSection
from aistack.errors import BackendFault, Code, Fault
from aistack.jobs.changes import evolve
from aistack.jobs.model import Resident, Slot, Snapshot
from aistack.jobs.states import Op, State, Step
from aistack.web.faults import cut, from_http
from aistack.web.gateway.health import ready
from aistack.web.openapi.operation import Operation
from aistack.web.operations import OPERATIONS
from aistack.web.request_id import choose
from tests.doubles.web import Scripted, a_job, get, post, serving

KINDS = {"network", "malformed", "overflow", "cancelled", "unknown"}


async def _boom(request: web.Request) -> web.StreamResponse:
    raise KeyError("secret detail")


async def _late(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"begun")
    raise ValueError("after the headers")


async def _fault(request: web.Request) -> web.StreamResponse:
    raise BackendFault(Fault(Code[request.match_info["code"]], "so it is"))


async def _read(request: web.Request) -> web.StreamResponse:
    return web.Response(body=await request.read())


async def _foreign(request: web.Request) -> web.StreamResponse:
    return web.Response(headers={"X-Request-ID": "upstreams-own"})


async def _timeout(request: web.Request) -> web.StreamResponse:
    raise TimeoutError


async def _redirect(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/health")


PROBES = (
    Operation("GET", "/boom", _boom, "", ()),
    Operation("GET", "/late", _late, "", ()),
    Operation("GET", "/fault/{code}", _fault, "", ()),
    Operation("POST", "/read", _read, "", ()),
    Operation("GET", "/foreign", _foreign, "", ()),
    Operation("GET", "/timeout", _timeout, "", ()),
    Operation("GET", "/redirect", _redirect, "", ()),
)


# --- X-Request-ID ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    ["a", "A-b_c:d.e", "0", "x" * 128, "...", ".a", "a.", "urn:uuid:1-2"],
)
def test_a22_a_harmless_id_is_kept(sent: str) -> None:
    assert choose(sent) == sent


def test_a22_blanks_around_an_id_do_not_count() -> None:
    assert choose(" \tabc ") == "abc"


@pytest.mark.parametrize(
    "sent",
    [
        None, "", " ", "a b", "x" * 129, "ä", "a/b", "..", ".", "a\\b", "a\x00", "a\n", "a;b", "é1",
        "\xa0a", "١٢٣", "a%2e",
    ],
)  # fmt: skip
def test_a24_a25_a27_any_other_id_is_replaced(sent: str | None) -> None:
    assert re.fullmatch(r"[0-9a-f]{16}", choose(sent))


def test_a23_generated_ids_differ() -> None:
    assert len({choose(None) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get("/health"), 200),
        (get("/health", "HEAD"), 200),
        (get("/nothing"), 404),
        (get("/health", "PUT"), 405),
        (get("/health", "OPTIONS"), 405),
        (get("/boom"), 500),
        (get("/timeout"), 500),
        (get("/foreign"), 200),
        (get("/redirect"), 302),
        (get("/fault/NOT_CONFIGURED"), 503),
        (post("/read", b"x" * (2 * 1024 * 1024)), 413),
        (get("/health", version="1.0"), 200),
    ],
)
async def test_a21_a26_a28_the_callers_id_is_on_every_response(request_: bytes, status: int) -> None:
    with_id = request_.replace(b"\r\n", b"\r\nX-Request-ID: mine.1\r\n", 1)
    async with serving(operations=PROBES) as served:
        raw = await served.connect()
        await raw.send(with_id)
        answered, headers = await raw.head()
        raw.close()
    assert (answered, headers["x-request-id"]) == (status, "mine.1")


async def test_a21_a_generated_id_is_on_what_is_not_even_http() -> None:
    async with serving() as served:
        reply = await served.say(b"NONSENSE\r\n\r\n")
    assert reply.status == 400
    assert reply.error["kind"] == "malformed"
    assert re.fullmatch(r"[0-9a-f]{16}", reply.headers["x-request-id"])


# --- the envelope --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "status", "kind", "code"),
    [
        (get("/nothing"), 404, "malformed", "not_found"),
        (get("/v1/readyz"), 404, "malformed", "not_found"),
        (get("/v1/models/"), 404, "malformed", "not_found"),
        (get("/health/"), 404, "malformed", "not_found"),
        (post("/v1/models", b""), 405, "malformed", "method_not_allowed"),
        (get("/boom"), 500, "unknown", "internal_error"),
        (get("/timeout"), 500, "unknown", "internal_error"),
        (post("/read", b"x" * (2 * 1024 * 1024)), 413, "overflow", "too_large"),
        (get("/v1/models/no%2Fsuch"), 404, "malformed", "model_not_found"),
    ],
)
async def test_a11_a18_a19_a20_every_failure_is_an_envelope(
    request_: bytes, status: int, kind: str, code: str
) -> None:
    async with serving(operations=PROBES) as served:
        reply = await served.say(request_)
    assert (reply.status, reply.error["kind"], reply.error["code"]) == (status, kind, code)
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    assert all(
        isinstance(reply.error[name], str) and reply.error[name] for name in ("provider", "message")
    )
    assert "secret" not in reply.error["message"]


@pytest.mark.parametrize(
    ("code", "kind", "status"),
    [
        ("INVALID_FIELD", "malformed", 400),
        ("UNAUTHORIZED", "malformed", 401),
        ("FORBIDDEN_ORIGIN", "malformed", 403),
        ("NOT_FOUND", "malformed", 404),
        ("METHOD_NOT_ALLOWED", "malformed", 405),
        ("OUT_OF_MEMORY", "overflow", 413),
        ("MODEL_LOAD_FAILED", "network", 503),
        ("INTERNAL_ERROR", "unknown", 500),
    ],
)
async def test_a12_a13_a14_a15_a16_each_kind_has_its_status(code: str, kind: str, status: int) -> None:
    async with serving(operations=PROBES) as served:
        reply = await served.say(get(f"/fault/{code}"))
    assert (reply.status, reply.error["kind"]) == (status, kind)
    assert reply.error["kind"] in KINDS


async def test_a19_a_405_names_the_methods() -> None:
    async with serving() as served:
        reply = await served.say(post("/health", b""))
    assert {method.strip() for method in reply.headers["allow"].split(",")} == {"GET", "HEAD"}


async def test_a20_a_500_is_not_to_be_retried_and_its_traceback_is_in_the_log() -> None:
    with structlog.testing.capture_logs() as lines:
        async with serving(operations=PROBES) as served:
            reply = await served.say(get("/boom", X_Request_ID="find-me"))
    assert reply.headers["x-should-retry"] == "false"
    assert [line["event"] for line in lines] == ["http.failed", "http.access"]
    assert lines[0]["exc_info"]
    assert lines[1]["status"] == 500


async def test_a_failure_after_the_headers_cuts_the_connection() -> None:
    async with serving(operations=PROBES) as served:
        reply = await served.say(get("/late"))
    assert (reply.status, reply.body, reply.complete) == (200, b"begun", False)


async def test_head_answers_like_get_without_a_body() -> None:
    async with serving() as served:
        raw = await served.connect()
        await raw.send(get("/health", "HEAD") + get("/health"))
        status, headers = await raw.head()
        again = await raw.reply()
        raw.close()
    assert status == again.status == 200
    assert headers["content-length"] == again.headers["content-length"] == str(len(again.body))


# --- /health and /v1/models ----------------------------------------------------------------------------


async def test_a4_health() -> None:
    async with serving() as served:
        reply = await served.say(get("/health"))
    assert re.fullmatch(
        rb'\{"status":"ok","version":"[0-9.]+","ready":false,"current_model":null\}', reply.body
    )


def test_ready_follows_the_selected_weights() -> None:
    weights = Resident("nanochat", "d20")
    empty = Snapshot((Slot("cpu"),))
    assert not ready(empty)
    good = evolve(empty, selected=weights, selected_ok=True)
    assert ready(good)
    assert not ready(evolve(good, selected_ok=False))
    swap = a_job("s", Op.SWAP, slot="cpu", state=State.ADMITTED, step=Step.EVICT)
    assert ready(evolve(good, jobs={"s": swap}))
    assert not ready(evolve(good, jobs={"s": evolve(swap, step=Step.LOAD)}))


@pytest.mark.parametrize("path", ["/v1/models/some%2Fmodel", "/v1/models/some/model"])
async def test_a_model_is_found_by_an_id_with_a_slash(path: str) -> None:
    async with serving() as served:
        reply = await served.say(get(path))
    assert (reply.status, json.loads(reply.body)["id"]) == (200, "some/model")


async def test_a29_the_list() -> None:
    async with serving() as served:
        reply = await served.say(get("/v1/models"))
    listed = json.loads(reply.body)
    assert listed["object"] == "list"
    assert [entry["id"] for entry in listed["data"]] == ["some/model"]
    assert listed["data"][0]["loaded"] is False


# --- keys ---

KEYED = Config(server=ServerSection(api_keys=("s3cret", "other")))


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("Bearer s3cret", 200),
        ("bearer other", 200),
        ("Bearer s3cre", 401),
        ("Bearer s3cret2", 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        ("Basic s3cret", 401),
        ("s3cret", 401),
        ("Bearer \xff", 401),
    ],
)
async def test_keys_are_asked_for(authorization: str, status: int) -> None:
    request_ = get("/v1/models").replace(
        b"\r\n\r\n", b"\r\nAuthorization: " + authorization.encode("latin-1") + b"\r\n\r\n"
    )
    async with serving(KEYED) as served:
        reply = await served.say(request_)
    assert reply.status == status
    if status == 401:
        assert (reply.error["kind"], reply.error["code"]) == ("malformed", "unauthorized")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/health", 200),
        ("/v1/models", 401),
        ("/%761/models", 401),
        ("/v1/%6dodels", 401),
        ("/v1/none", 401),
        ("/metrics", 401),
        ("/admin/api/metrics", 401),
        ("/admin", 404),
        ("/docs", 200),
        ("/docs/init.js", 200),
        ("/openapi.json", 200),
    ],
)
async def test_what_is_behind_a_key(path: str, status: int) -> None:
    async with serving(KEYED) as served:
        assert (await served.say(get(path))).status == status


async def test_a3_without_configured_keys_any_authorization_does_no_harm() -> None:
    async with serving() as served:
        assert (await served.say(get("/v1/models", Authorization="Bearer x"))).status == 200
        assert (await served.say(get("/v1/models"))).status == 200


def test_every_operation_says_the_guard_its_path_has() -> None:
    from aistack.web.guard import needs_key

    for operation in OPERATIONS:
        assert (operation.guard == "api") == needs_key(operation.path), operation.path


# --- the browser guard ---------------------------------------------------------------------------------

GUARDED = Config(
    server=ServerSection(allowed_origins=("https://App.example/",), allowed_hosts=("gpu.example.com",))
)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "gpu.example.com:11500"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1"}, 200),
        ({"Origin": "http://127.0.0.1:3000"}, 403),
        ({"Origin": "https://app.example"}, 200),
    ],
)
async def test_the_guard_over_http(headers: dict[str, str], status: int) -> None:
    async with serving(GUARDED) as served:
        reply = await served.say(get("/health", **headers))
    assert reply.status == status
    if status == 403:
        assert (reply.error["kind"], reply.error["code"]) == ("malformed", "forbidden_origin")


async def test_an_allowed_page_may_read_the_answer_and_ask_beforehand() -> None:
    async with serving(GUARDED) as served:
        plain = await served.say(get("/nothing", Origin="https://app.example"))
        asked = await served.say(
            get(
                "/v1/models",
                "OPTIONS",
                Origin="https://app.example",
                Access_Control_Request_Method="POST",
                Access_Control_Request_Headers="authorization",
            )
        )
        stranger = await served.say(
            get(
                "/v1/models", "OPTIONS", Origin="https://x.example", Access_Control_Request_Method="POST"
            )
        )
        own = await served.say(get("/health", Origin="http://127.0.0.1"))
    assert (plain.status, plain.headers["access-control-allow-origin"]) == (404, "https://app.example")
    assert (asked.status, asked.headers["access-control-allow-headers"]) == (204, "authorization")
    assert "x-request-id" in asked.headers
    assert stranger.status == 403
    assert "access-control-allow-origin" not in own.headers


# --- the access line -----------------------------------------------------------------------------------


async def test_one_access_line_per_request_with_499_for_who_left() -> None:
    entered = asyncio.Event()
    left = asyncio.Event()

    async def waits(request: web.Request) -> web.StreamResponse:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        raise AssertionError

    waiting = Operation("GET", "/waits", waits, "", ())
    with structlog.testing.capture_logs() as lines:
        async with serving(operations=(*PROBES, waiting)) as served:
            await served.say(get("/health"))
            await served.say(get("/v1/models?q=private"))
            await served.say(get("/redirect"))
            raw = await served.connect()
            await raw.send(get("/waits"))
            await asyncio.wait_for(entered.wait(), 5)
            raw.close()
            await asyncio.wait_for(left.wait(), 5)
    said = [(line["log_level"], line["path"], line["status"]) for line in lines]
    assert said == [
        ("debug", "/health", 200),
        ("info", "/v1/models", 200),
        ("info", "/redirect", 302),
        ("info", "/waits", 499),
    ]
    assert all(line["event"] == "http.access" and line["ms"] >= 0 for line in lines)


# --- the end -------------------------------------------------------------------------------------------


async def test_the_drain_comes_before_connections_are_cut() -> None:
    scheduler = Scripted()
    told = asyncio.Event()
    answered = asyncio.Event()

    async def waits(request: web.Request) -> web.StreamResponse:
        answered.set()
        await told.wait()
        return web.Response(body=b"told")

    scheduler.on_drain = told.set
    config = Config(server=ServerSection(drain_grace_s=7.0))
    async with serving(config, scheduler, (Operation("GET", "/waits", waits, "", ()),)) as served:
        raw = await served.connect()
        await raw.send(get("/waits"))
        await asyncio.wait_for(answered.wait(), 5)
        await served.runner.cleanup()
        reply = await raw.reply()
        raw.close()
    assert scheduler.drained == 7.0
    assert reply.body == b"told"


# --- faults as values ---


@pytest.mark.parametrize(
    ("exc", "status", "code"),
    [
        (web.HTTPBadRequest(), 400, "invalid_body"),
        (web.HTTPUnsupportedMediaType(), 400, "invalid_body"),
        (web.HTTPUnprocessableEntity(), 400, "invalid_body"),
        (web.HTTPRequestEntityTooLarge(max_size=1, actual_size=2), 413, "too_large"),
        (web.HTTPNotFound(), 404, "not_found"),
        (web.HTTPServiceUnavailable(), 500, "internal_error"),
    ],
)
def test_a11_what_aiohttp_says_in_plain_text(exc: web.HTTPException, status: int, code: str) -> None:
    fault = from_http(exc, "GET", "/x")
    assert (fault.status, fault.code.value) == (status, code)


async def test_a17_a_lost_connection_is_no_failure_of_ours() -> None:
    reading = asyncio.Event()

    async def reads(request: web.Request) -> web.StreamResponse:
        reading.set()
        assert request.transport is not None
        request.transport.close()
        raise ConnectionResetError

    with structlog.testing.capture_logs() as lines:
        async with serving(operations=(Operation("GET", "/reads", reads, "", ()),)) as served:
            raw = await served.connect()
            await raw.send(get("/reads"))
            assert await asyncio.wait_for(raw.reader.read(), 5) == b""
    assert [(line["event"], line["status"]) for line in lines] == [("http.access", 499)]


class Pipe(asyncio.Transport):
    """A transport that only remembers how it was ended."""

    def __init__(self, buffered: int) -> None:
        super().__init__()
        self.buffered = buffered
        self.closed = False
        self.aborted = asyncio.Event()

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted.set()

    def get_write_buffer_size(self) -> int:
        return self.buffered


async def test_a_cut_lets_out_what_was_said_but_not_for_ever() -> None:
    stuck = Pipe(buffered=5)
    cut(make_mocked_request("GET", "/", transport=stuck), 0.05)
    assert (stuck.closed, stuck.aborted.is_set()) == (True, False)
    await asyncio.wait_for(stuck.aborted.wait(), 5)
    empty = Pipe(buffered=0)
    cut(make_mocked_request("GET", "/", transport=empty), 0.0)
    assert (empty.closed, empty.aborted.is_set()) == (True, False)


async def test_a_cut_of_http_1_0_is_at_once() -> None:
    pipe = Pipe(buffered=5)
    cut(make_mocked_request("GET", "/", version=HttpVersion10, transport=pipe), 60.0)
    assert pipe.aborted.is_set()
