"""A3 to A28 over HTTP: liveness, the envelope and its five kinds, request ids."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aistack import __version__
from aistack.errors import Code
from tests.http.gateway.client import BOUND_S, FORM, KINDS, PATH, Answer, acts
from tests.http.gateway.service import Gates, Loads, Service, running

SAY = {"say": "one two", "end": 1}
HEX = re.compile(r"[0-9a-f]{16}")

Ask = Callable[[Service], Answer]


def upload(*script: dict[str, object], **fields: str) -> Ask:
    return lambda service: service.play(*script, **fields)


def ask(method: str, path: str, body: bytes | None = None, **headers: str) -> Ask:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda service: service.client.ask(method, path, body, named)


FAILING: dict[str, tuple[int, str, Ask]] = {
    "unknown path": (404, "malformed", ask("GET", "/v2/nothing")),
    "unknown path below v1": (404, "malformed", ask("GET", "/v1/readyz")),
    "wrong method": (405, "malformed", ask("PUT", "/health")),
    "unlisted model": (404, "malformed", ask("GET", "/v1/models/nobody")),
    "trailing slash": (404, "malformed", ask("GET", "/v1/models/")),
    "no form": (400, "malformed", ask("POST", PATH, b"{}", Content_Type="application/json")),
    "broken form": (400, "malformed", ask("POST", PATH, b"--x", Content_Type=FORM)),
    "no body": (400, "malformed", ask("POST", PATH)),
    "no file": (400, "malformed", lambda service: service.client.transcribe(None)),
    "empty file": (400, "malformed", lambda service: service.client.transcribe(b"")),
    "bad format": (400, "malformed", upload(SAY, response_format="xml")),
    "bad boolean": (400, "malformed", upload(SAY, stream="perhaps")),
    "unknown model": (400, "malformed", upload(SAY, model="nobody")),
    "no audio": (400, "malformed", upload({"fail": "malformed"})),
    "foreign origin": (403, "malformed", ask("GET", "/v1/models", Origin="http://evil.example")),
    "foreign host": (403, "malformed", ask("GET", "/v1/models", Host="evil.example")),
    "out of memory": (413, "overflow", upload({"fail": "oom"})),
    "unfetchable weights": (503, "network", upload({"fail": "network"})),
    "bug of an engine": (500, "unknown", upload({"fail": "bug"})),
    "crash of an engine": (500, "unknown", upload({"crash": "kill"})),
}
"""Every way to fail that needs no special server: status, kind, how."""


@pytest.fixture(scope="module")
def failures(
    fakes_: Service, environment: Path, gates_: Gates
) -> Iterator[dict[str, tuple[int, str, Answer]]]:
    """All of FAILING, and what takes a special server or moment, asked once."""
    found = {name: (status, kind, how(fakes_)) for name, (status, kind, how) in FAILING.items()}
    running_call = fakes_.begin({"gate": "failures"}, SAY)
    let_pass = gates_.entered("failures")
    found["busy"] = (503, "network", fakes_.play(SAY))
    let_pass()
    assert running_call.answer().status == 200
    server = {"api_keys": ("secret",), "max_upload_bytes": 1000}
    with running(environment / "keys", {}, server=server) as guarded:
        key = {"Authorization": "Bearer secret"}
        found["no key"] = (401, "malformed", guarded.client.get("/v1/models"))
        found["no engine"] = (503, "network", guarded.client.transcribe(b"x", headers=key))
        found["too large"] = (413, "overflow", guarded.client.transcribe(b"x" * 1001, headers=key))
    yield found


def test_a3_no_credential_is_needed_and_one_does_no_harm(fakes: Service) -> None:
    for headers in ({}, {"Authorization": "Bearer sk-anything"}, {"Authorization": "nonsense"}):
        assert fakes.client.get("/health", headers).status == 200
        assert fakes.client.get("/v1/models", headers).status == 200
        assert fakes.play(SAY, headers=headers).status == 200


def test_a4_health(fakes: Service) -> None:
    answer = fakes.client.get("/health")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/json")
    told = {"status": "ok", "version": __version__, "ready": False, "current_model": None}
    assert answer.json == told


def test_a5_health_without_any_engine(environment: Path) -> None:
    with running(environment / "bare", {}) as service:
        assert service.client.get("/health").json["status"] == "ok"
        assert service.listed() == {}


def test_a6_health_answers_while_a_transcription_runs(fakes: Service, gates: Gates) -> None:
    call = fakes.begin({"gate": "a"}, SAY)
    let_pass = gates.entered()
    assert fakes.client.get("/health").status == 200
    assert fakes.snapshot.slots[0].holder is not None, "it was answered while the job was running"
    let_pass()
    assert call.answer().status == 200


def test_a7_health_answers_during_a_load(fakes: Service, gates: Gates, loads: Loads) -> None:
    loads(whisper_base=[{"gate": "load"}])
    call = fakes.begin(SAY, model="whisper-base")
    let_pass = gates.entered("load")
    assert fakes.client.get("/health").status == 200
    assert fakes.client.get("/v1/models").status == 200
    assert fakes.snapshot.slots[0].resident is None, "it was answered before the load was over"
    let_pass()
    assert call.answer().status == 200


def test_a7_health_answers_during_the_first_look_at_the_disk(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, go_on = threading.Event(), threading.Event()
    with running(environment / "slow", {}) as service:
        look = service.inventory._look

        def slowly() -> object:
            looking.set()
            assert go_on.wait(BOUND_S)
            return look()

        monkeypatch.setattr(service.inventory, "_look", slowly)
        listing = service.client.begin("GET", "/v1/models")
        assert looking.wait(BOUND_S)
        assert service.client.get("/health").status == 200
        go_on.set()
        assert listing.answer().json == {"object": "list", "data": []}


# --- the envelope -------------------------------------------------------------------------------------

EVERY = (*FAILING, "busy", "no key", "no engine", "too large")


@pytest.mark.parametrize("name", EVERY)
def test_a11_every_failure_is_an_envelope(
    name: str, failures: dict[str, tuple[int, str, Answer]]
) -> None:
    status, _, answer = failures[name]
    assert (answer.status, answer.complete) == (status, True)
    assert answer.headers["content-type"].startswith("application/json")
    assert set(answer.json) == {"error"}
    for member in ("kind", "provider", "message"):
        assert isinstance(answer.error[member], str)
        assert answer.error[member]
    assert not re.search(r"Traceback|Error\(|spool|\.py", answer.error["message"])


@pytest.mark.parametrize("name", EVERY)
def test_a12_every_kind_is_one_of_five(name: str, failures: dict[str, tuple[int, str, Answer]]) -> None:
    _, kind, answer = failures[name]
    assert answer.error["kind"] == kind
    assert answer.error["kind"] in KINDS
    assert answer.error["code"] in {code.value for code in Code}


def statuses(kind: str, failures: dict[str, tuple[int, str, Answer]]) -> set[int]:
    return {answer.status for _, _, answer in failures.values() if answer.error["kind"] == kind}


def test_a13_malformed(failures: dict[str, tuple[int, str, Answer]]) -> None:
    assert statuses("malformed", failures) == {400, 401, 403, 404, 405}
    for _, _, answer in failures.values():
        assert (answer.status == 400) <= (answer.error["kind"] == "malformed")


def test_a14_overflow(failures: dict[str, tuple[int, str, Answer]]) -> None:
    assert statuses("overflow", failures) == {413}


def test_a15_network(failures: dict[str, tuple[int, str, Answer]]) -> None:
    assert statuses("network", failures) == {503}


def test_a16_unknown(failures: dict[str, tuple[int, str, Answer]]) -> None:
    assert statuses("unknown", failures) == {500}
    unknown = [answer for _, _, answer in failures.values() if answer.status == 500]
    assert all(answer.headers["x-should-retry"] == "false" for answer in unknown)


@pytest.mark.parametrize(
    "path",
    ["/v1", "/v1/nothing", "/v1/chat", "/health/", "/admin/nothing", "/admin/static/x.js", "/v1/%2e%2e"],
)
def test_a18_an_unknown_path(path: str, fakes: Service) -> None:
    answer = fakes.client.get(path)
    assert (answer.status, answer.error["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/health"), ("DELETE", "/v1/models"), ("GET", PATH), ("PUT", PATH)]
)
def test_a19_a_wrong_method(method: str, path: str, fakes: Service) -> None:
    answer = fakes.client.ask(method, path)
    assert (answer.status, answer.error["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"]


def test_a20_an_unexpected_exception(fakes: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    async def bug(*args: object) -> None:
        raise ZeroDivisionError("a secret of the server")

    monkeypatch.setattr(fakes.inventory, "models", bug)
    answer = fakes.client.get("/v1/models", {"X-Request-ID": "mine"})
    assert (answer.status, answer.error["kind"]) == (500, "unknown")
    assert answer.headers["x-request-id"] == "mine"
    assert b"secret" not in answer.body


# --- request ids --------------------------------------------------------------------------------------


def test_a21_every_response_has_a_request_id(
    fakes: Service, failures: dict[str, tuple[int, str, Answer]]
) -> None:
    good = [
        fakes.client.get("/health"),
        fakes.client.ask("HEAD", "/health"),
        fakes.client.get("/v1/models"),
        fakes.client.get("/v1/models/auto"),
        fakes.play(SAY),
        fakes.play(SAY, stream="true"),
    ]
    assert {answer.status for answer in good} == {200}
    for answer in (*good, *(answer for _, _, answer in failures.values())):
        assert HEX.fullmatch(answer.headers["x-request-id"])


def sent_id(service: Service, word: str) -> str:
    return service.client.get("/health", {"X-Request-ID": word}).headers["x-request-id"]


@pytest.mark.parametrize("word", ["a", "Az-09_.:", "...", "job:7"])
def test_a22_a_valid_id_is_echoed(word: str, fakes: Service) -> None:
    assert sent_id(fakes, word) == word


def test_a23_an_absent_id_is_made_anew(fakes: Service) -> None:
    made = [fakes.client.get("/health").headers["x-request-id"] for _ in range(20)]
    assert all(HEX.fullmatch(each) for each in made)
    assert len(set(made)) == 20


@pytest.mark.parametrize("word", ["a b", "a/b", "ä", "a;b", "", "a%41"])
def test_a24_a_forbidden_character_replaces_the_id(word: str, fakes: Service) -> None:
    assert HEX.fullmatch(sent_id(fakes, word))


def test_a25_the_length_of_an_id(fakes: Service) -> None:
    assert sent_id(fakes, "x" * 128) == "x" * 128
    assert HEX.fullmatch(sent_id(fakes, "x" * 129))


def test_a26_the_id_is_on_errors_refusals_and_streams(fakes: Service, gates: Gates) -> None:
    mine = {"X-Request-ID": "mine.7"}
    call = fakes.begin({"say": "one"}, {"gate": "a"}, SAY, stream="true", headers=mine)
    let_pass = gates.entered()
    refused = fakes.play(SAY, headers=mine)
    let_pass()
    streamed = call.answer()
    lost = fakes.client.get("/nothing", mine)
    bad = fakes.play(SAY, model="nobody", headers=mine)
    assert [each.status for each in (streamed, refused, lost, bad)] == [200, 503, 404, 400]
    for answer in (streamed, refused, lost, bad):
        assert answer.headers["x-request-id"] == "mine.7"


@pytest.mark.parametrize("word", [".", ".."])
def test_a27_an_id_is_never_a_way_out_of_a_directory(word: str, fakes: Service) -> None:
    assert HEX.fullmatch(sent_id(fakes, word))


def test_a28_there_is_one_id_and_it_is_the_callers(fakes: Service) -> None:
    since = fakes.mark
    answer = fakes.client.transcribe(acts(SAY), headers={"X-Request-ID": "mine.8"})
    assert [value for name, value in answer.all_headers if name.lower() == "x-request-id"] == ["mine.8"]
    assert fakes.transitions[since].job.request_id == "mine.8"


def test_an_envelope_says_what_openais_clients_read(fakes: Service) -> None:
    error = json.loads(fakes.play(SAY, model="nobody").body)["error"]
    assert (error["type"], error["code"], error["param"]) == (
        "invalid_request_error",
        "model_not_found",
        "model",
    )
