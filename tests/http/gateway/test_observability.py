"""A201 to A223 over HTTP: switches, figures, access log, captures; and that none of it can hurt."""

from __future__ import annotations

import json
import re
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.testing import capture_logs

from aistack.observe import sources
from aistack.observe.redact import MASK
from aistack.observe.toggles import KEYS
from aistack.observe.tracing import Tracing
from aistack.web.admin.observability import EXPOSITION, FORM_MAX
from tests.doubles.engines import FAMILIES
from tests.doubles.upstreams import CHAT, JSON, MODEL, SPEECH, Upstreams, chat, speech
from tests.doubles.web import FORM as MULTIPART
from tests.doubles.web import multipart, named
from tests.http.gateway.client import Answer
from tests.http.gateway.service import Gates, Service, running
from tests.http.gateway.watched import FORM, Watched

SAY = {"say": "one two", "start": 0, "end": 2}
STATE = "/admin/api/observability"
TWELVE = [
    "ts",
    "request_id",
    "method",
    "path",
    "query",
    "status",
    "category",
    "model",
    "latency_ms",
    "slot_wait_ms",
    "client",
    "extra",
]


@contextmanager
def watching(folder: Path, upstreams: Upstreams | None = None, **settings: Any) -> Iterator[Watched]:
    """A watched service of its own; with `upstreams`, it has chat and speech."""
    there: dict[str, Any] = {} if upstreams is None else upstreams.addresses
    server = settings.pop("server", {})
    folders = {"log_dir": str(folder / "logs"), "payload_dir": str(folder / "captures")}
    with running(
        folder,
        {"whisper": FAMILIES["whisper"]},
        relays=upstreams is not None,
        engines={"kill_after_s": 0.5},
        observability=folders | settings,
        server=server,
        **there,
    ) as service:
        yield Watched(service, folder)


@pytest.fixture(scope="module")
def watched_(environment: Path, gates_: Gates, upstreams_: Upstreams) -> Iterator[Watched]:
    upstreams_.renew()
    with watching(environment / "watched", upstreams_) as watched:
        yield watched


@pytest.fixture
def watched(watched_: Watched, upstreams_: Upstreams) -> Iterator[Watched]:
    """As configured by default before the test, and again after it."""
    upstreams_.renew()
    yield watched_
    watched_.service.quiet()
    for key in KEYS:
        watched_.turn(key, "off" if key == "payload" else "on")
    watched_.service.client.ask("POST", f"{STATE}/clear-payload")


@pytest.fixture
def service(watched: Watched) -> Service:
    return watched.service


def heard(watched: Watched, request_id: str, **fields: Any) -> Answer:
    """A transcription, over."""
    answer = watched.send(request_id, SAY, **fields).answer()
    assert answer.status == 200
    watched.over(request_id)
    return answer


def asr(watched: Watched) -> dict[str, Any]:
    figures: dict[str, Any] = watched.figures["categories"]["asr"]
    return figures


# --- switches -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    ("value", "on"), [("1", True), ("YES", True), ("y", True), ("0", False), ("?", False)]
)
def test_a201_each_switch_can_be_turned(watched: Watched, key: str, value: str, on: bool) -> None:
    assert watched.turn(key, value)[key] is on
    assert watched.service.client.get(STATE).json[key] is on


def test_a201_json_turns_it_too(watched: Watched) -> None:
    for value, on in ((True, True), ("off", False), (1, True), (False, False)):
        body = json.dumps({"key": "payload", "value": value})
        answer = watched.service.client.ask("POST", f"{STATE}/toggle", body, JSON)
        assert (answer.status, answer.json["payload"]) == (200, on)


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"key": "everything", "value": "1"}, "invalid_field", "key"),
        ({"key": "metrics"}, "missing_field", "value"),
        ({"value": "1"}, "missing_field", "key"),
    ],
)
def test_a201_what_is_no_switch_is_400(
    watched: Watched, fields: dict[str, str], code: str, param: str
) -> None:
    answer = watched.toggle(**fields)
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, code, param)
    assert answer.error["kind"] == "malformed"


@pytest.mark.parametrize("charset", ["punycode", "klingon-17", "utf-16"])
def test_a_forms_charset_is_not_asked(watched: Watched, charset: str) -> None:
    """Such a form is UTF-8 by its standard."""
    kind = {"Content-Type": f"{FORM['Content-Type']}; charset={charset}"}
    answer = watched.service.client.ask("POST", f"{STATE}/toggle", "key=payload&value=on", kind)
    assert (answer.status, answer.json["payload"]) == (200, True)


@pytest.mark.parametrize(
    ("charset", "status"), [("utf-8", 200), ("latin-1", 200), ("punycode", 400), ("klingon-17", 400)]
)
def test_a_multipart_form_turns_it_too(watched: Watched, charset: str, status: int) -> None:
    typed = f"\r\nContent-Type: text/plain; charset={charset}"
    body = multipart((named("key", typed), b"payload"), (named("value"), b"on"))
    kind = {"Content-Type": MULTIPART}
    answer = watched.service.client.ask("POST", f"{STATE}/toggle", body, kind)
    assert answer.status == status
    if status == 400:
        assert (answer.error["code"], answer.error["param"]) == ("invalid_field", "key")


@pytest.mark.parametrize("kind", [FORM["Content-Type"], MULTIPART])
def test_a_form_without_end_is_413(watched: Watched, kind: str) -> None:
    answer = watched.service.client.ask(
        "POST", f"{STATE}/toggle", b"a" * (FORM_MAX + 1), {"Content-Type": kind}
    )
    assert (answer.status, answer.error["code"]) == (413, "too_large")


@pytest.mark.parametrize("body", [b"\xff", b"a=&" * 1000])
def test_a_form_that_cannot_be_read_is_400(watched: Watched, body: bytes) -> None:
    answer = watched.service.client.ask("POST", f"{STATE}/toggle", body, FORM)
    assert (answer.status, answer.error["code"]) == (400, "invalid_body")


@pytest.mark.parametrize("path", ["toggle", "clear-payload"])
def test_a_foreign_page_cannot_turn_anything(watched: Watched, path: str) -> None:
    headers = {"Origin": "http://evil.example", "Content-Type": "application/x-www-form-urlencoded"}
    answer = watched.service.client.ask("POST", f"{STATE}/{path}", "key=metrics&value=0", headers)
    assert (answer.status, answer.error["code"]) == (403, "forbidden_origin")
    assert watched.service.client.get(STATE).json["metrics"] is True


def test_a202_a_restart_returns_to_the_configuration(environment: Path) -> None:
    folder = environment / "restarted"
    with watching(folder, access_log=False) as watched:
        before = watched.service.client.get(STATE).json
        for key in KEYS:
            watched.turn(key, "off" if before[key] else "on")
    with watching(folder, access_log=False) as watched:
        assert watched.service.client.get(STATE).json == before
    assert [before[key] for key in KEYS] == [True, False, False]


def test_the_state_says_where_things_are(watched: Watched) -> None:
    state = watched.service.client.get(STATE).json
    assert state["log_dir"] == str(watched.logs)
    assert state["payload_usage"] == {
        "bytes": 0,
        "cap_bytes": 5 * 1024**3,
        "count": 0,
        "earliest": None,
        "max_age_days": 7,
    }


# --- figures ------------------------------------------------------------------------------------------


def test_a203_a204_categories_appear_with_their_traffic(
    environment: Path, upstreams_: Upstreams
) -> None:
    upstreams_.renew()
    with watching(environment / "traffic", upstreams_) as watched:
        client = watched.service.client
        assert (watched.figures["window_sec"], watched.figures["categories"]) == (3600, {})
        assert watched.figures["uptime_sec"] >= 0
        heard(watched, "one")
        assert list(watched.figures["categories"]) == ["asr"]
        for path, body in ((CHAT, chat()), (SPEECH, speech())):
            answer = client.ask("POST", path, body, JSON)
            watched.over(answer.headers["x-request-id"])
        client.get("/v1/models")
        assert set(watched.figures["categories"]) == {"asr", "llm", "tts"}


def test_a205_classes_and_errors(watched: Watched) -> None:
    before = asr_or_none(watched)
    scripts: list[tuple[dict[str, Any], int]] = [
        ({"say": "x", "end": 1}, 200),
        ({"fail": "malformed"}, 400),
        ({"fail": "bug"}, 500),
    ]
    for number, (script, status) in enumerate(scripts):
        request_id = f"class-{number}"
        assert watched.send(request_id, script).answer().status == status
        watched.over(request_id)
    after = asr(watched)
    assert set(after["by_class"]) == {"2xx", "4xx", "5xx", "503-busy", "client-disconnect"}
    grown = {word: count - before[word] for word, count in after["by_class"].items()}
    assert grown == {"2xx": 1, "4xx": 1, "5xx": 1, "503-busy": 0, "client-disconnect": 0}
    assert after["error_count"] == after["by_class"]["4xx"] + after["by_class"]["5xx"]
    assert after["error_rate"] == round(after["error_count"] / after["total"], 4)


def asr_or_none(watched: Watched) -> dict[str, int]:
    words = ("2xx", "4xx", "5xx", "503-busy", "client-disconnect")
    counts: dict[str, int] = (
        watched.figures["categories"].get("asr", {}).get("by_class", dict.fromkeys(words, 0))
    )
    return counts


def test_a206_busy_is_no_error(watched: Watched, gates: Gates) -> None:
    before = asr_or_none(watched)
    holder = watched.send("holder", {"gate": "a"}, SAY)
    let_pass = gates.entered()
    refused = watched.send("refused", SAY).answer()
    watched.over("refused")
    let_pass()
    assert holder.answer().status == 200
    watched.over("holder")
    assert (refused.status, refused.error["code"]) == (503, "slot_busy")
    after = asr(watched)
    assert after["by_class"]["503-busy"] - before["503-busy"] == 1
    assert after["by_class"]["5xx"] == before["5xx"]
    assert after["slot_503"] == after["by_class"]["503-busy"]


def test_a206_busy_unread_counts_too(watched: Watched, gates: Gates) -> None:
    before = asr_or_none(watched)
    holder = watched.send("holder-2", {"gate": "a"}, SAY)
    let_pass = gates.entered()
    refused = watched.service.client.transcribe(b"x" * (9 * 1024**2), headers={"X-Request-ID": "unread"})
    watched.over("unread")
    let_pass()
    holder.answer()
    watched.over("holder-2")
    assert refused.status == 503
    assert asr(watched)["by_class"]["503-busy"] - before["503-busy"] == 1


@pytest.mark.parametrize("stream", ["false", "true"])
def test_a207_who_left_is_no_error(watched: Watched, gates: Gates, stream: str) -> None:
    before = asr_or_none(watched)
    request_id = f"left-{stream}"
    call = watched.send(request_id, {"gate": "a"}, SAY, stream=stream)
    let_pass = gates.entered()
    call.close()
    watched.over(request_id)
    let_pass()
    watched.service.quiet()
    after = asr(watched)
    assert after["by_class"]["client-disconnect"] - before["client-disconnect"] == 1
    assert after["error_count"] == before["4xx"] + before["5xx"]
    assert after["disconnected"] == after["by_class"]["client-disconnect"]
    assert after["recent"][-1]["class"] == "client-disconnect"
    assert watched.lines(request_id)[0]["status"] == 499


def test_a208_percentiles_histogram_recent(watched: Watched) -> None:
    for number in range(51):
        heard(watched, f"recent-{number}")
    figures = asr(watched)
    latency = figures["latency_ms"]
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"] <= latency["max"]
    assert list(latency["histogram"]) == [
        *(f"<={n}" for n in (10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000)),
        ">60000",
    ]
    assert sum(latency["histogram"].values()) == latency["samples"] == figures["total"]
    recent = [entry["request_id"] for entry in figures["recent"]]
    assert recent == [f"recent-{number}" for number in range(1, 51)]
    assert figures["throughput_per_min"] > 1


def test_time_in_line_is_told(watched: Watched, gates: Gates) -> None:
    holder = watched.send("holds", {"gate": "a"}, SAY)
    let_pass = gates.entered()
    headers = {"X-Request-ID": "waits", "Prefer": "wait=30"}
    mark = watched.service.mark
    waiting = watched.service.begin(SAY, headers=headers)
    watched.service.reached("waiting", mark)
    let_pass()
    assert (holder.answer().status, waiting.answer().status) == (200, 200)
    (line,) = watched.lines("waits")
    assert 0 < line["slot_wait_ms"] <= line["latency_ms"]
    assert watched.lines("holds")[0]["slot_wait_ms"] == 0
    assert asr(watched)["slot_wait_ms"]["p99"] > 0


def test_a209_switched_off_the_counters_stand_still(watched: Watched) -> None:
    heard(watched, "counted")
    watched.turn("metrics", "off")
    before, jobs = asr(watched)["total"], watched.scrape()["aistack_jobs_total"]
    heard(watched, "uncounted")
    assert asr(watched)["total"] == before
    after = watched.scrape()
    assert after["aistack_jobs_total"] == jobs
    assert after["aistack_observability_on"][(("switch", "metrics"),)] == 0


def test_a210_metrics_is_prometheus_text(watched: Watched) -> None:
    heard(watched, "scraped")
    answer = watched.service.client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = watched.scrape()
    ok = (("code", ""), ("model", "whisper-small"), ("op", "transcribe"), ("outcome", "ok"))
    assert found["aistack_jobs_total"][ok] >= 1
    assert found["aistack_requests_total"][("category", "asr"), ("class", "2xx")] >= 1
    assert found["aistack_slot_busy"] == {(("device", "cpu"),): 0}
    assert found["aistack_engine_starts_total"][("engine", "whisper"),] >= 1
    kinds = {dict(key)["kind"] for key in found["aistack_engine_memory_bytes"]}
    assert "rss" in kinds
    assert found["process_resident_memory_bytes"][()] > 10_000_000
    assert set(found["aistack_scrape_source_up"].values()) == {1}
    assert (found["workers_total"][()], found["workers_busy"][()]) == (1, 0)
    assert (found["workers_available"][()], found["active_generations"][()]) == (1, 0)
    assert found["tokens_generated_total"][()] == 0


def test_a210_a_scrape_that_fails_in_part_is_200_and_costs_no_request(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver that raises, then one that hangs, then one that is well again."""

    def raises(*_: Any) -> None:
        raise OSError("made up")

    memory, gate = (("source", "memory"),), threading.Event()
    with capture_logs() as told:
        monkeypatch.setattr(sources, "memory_families", raises)
        for _ in range(2):
            found = watched.scrape()
            assert found["aistack_scrape_source_up"][memory] == 0
            assert "aistack_engine_memory_bytes" not in found
            assert sum(found["aistack_scrape_source_up"].values()) == 6, "the others are there"
        monkeypatch.setattr(sources, "memory_families", lambda *_: gate.wait(60) and ())
        monkeypatch.setattr(watched.service.app[EXPOSITION], "slow_s", 0.1)
        try:
            assert watched.scrape()["aistack_scrape_source_up"][memory] == 0
            assert heard(watched, "while-it-hangs").status == 200
        finally:
            gate.set()
        monkeypatch.undo()
        until = time.monotonic() + 30
        while watched.scrape()["aistack_scrape_source_up"][memory] == 0:
            assert time.monotonic() < until
    said = [line for line in told if "figures" in str(line["event"])]
    assert [(line["event"][-7:], line["source"], line.get("reason")) for line in said] == [
        ("missing", "memory", "OSError"),
        ("e again", "memory", None),
    ]


def test_a_crash_of_an_engine_is_counted(watched: Watched) -> None:
    key = (("engine", "whisper"), ("when", "run"))
    before = watched.scrape().get("aistack_engine_losses_total", {}).get(key, 0)
    assert watched.send("crash", {"crash": "kill"}).answer().status == 500
    watched.over("crash")
    assert watched.scrape()["aistack_engine_losses_total"][key] == before + 1


def test_the_operators_figures_are_behind_the_keys(environment: Path) -> None:
    with watching(environment / "keys", server={"api_keys": ("k1",)}) as watched:
        for path in ("/metrics", "/admin/api/metrics", STATE):
            refused = watched.service.client.get(path)
            assert (refused.status, refused.error["code"]) == (401, "unauthorized")
            with_key = watched.service.client.get(path, {"Authorization": "Bearer k1"})
            assert with_key.status == 200


# --- the access log -----------------------------------------------------------------------------------


def test_a211_one_line_of_twelve_fields(watched: Watched) -> None:
    answer = heard(watched, "line-1", path="/v1/audio/transcriptions?x=%20y")
    line = watched.line(answer)
    assert list(line) == TWELVE
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["ts"])
    assert (line["method"], line["path"], line["query"]) == (
        "POST",
        "/v1/audio/transcriptions",
        "x=%20y",
    )
    assert (line["status"], line["category"]) == (200, "asr")
    assert re.fullmatch(r"127\.0\.0\.1:\d+", line["client"])
    assert line["latency_ms"] > 0
    (path,) = watched.logs.iterdir()
    day = datetime.fromisoformat(line["ts"]).astimezone(UTC).date()
    assert path.name == f"access-{day}.jsonl"


def test_a212_only_capabilities_are_logged(watched: Watched) -> None:
    before = len(watched.all_lines())
    for path in ("/health", "/v1/models", "/v1/models/auto", STATE, "/metrics", "/v2/x", "/stats"):
        watched.service.client.get(path)
    watched.service.client.ask("OPTIONS", "/v1/chat/completions")
    heard(watched, "after-those")
    assert [line["request_id"] for line in watched.all_lines()[before:]] == ["after-those"]


def test_a213_the_echoed_id_and_the_resolved_model(watched: Watched) -> None:
    answer = heard(watched, "who:am.I-1_2", model="whisper-1")
    assert answer.headers["x-request-id"] == "who:am.I-1_2"
    assert watched.line(answer)["model"] == "whisper-small"
    own = watched.service.play(SAY)
    assert watched.line(own)["request_id"] == own.headers["x-request-id"]


def test_a214_what_an_asr_line_says(watched: Watched) -> None:
    extra = watched.line(heard(watched, "asr-1", language="de"))["extra"]
    assert extra["request_audio_bytes"] == len(json.dumps([SAY]))
    assert (extra["language"], extra["stream"], extra["response_format"]) == ("de", False, "json")
    assert (extra["provider"], extra["segment_granularity"]) == ("Faster-Whisper", "sentence")
    assert (extra["audio_sec"], extra["detected_language"]) == (2.0, "de")
    assert extra["rtf"] > 0
    streamed = watched.line(heard(watched, "asr-2", stream="true"))["extra"]
    assert (streamed["stream"], streamed["response_format"]) == (True, None)


def test_what_chat_and_speech_lines_say(watched: Watched) -> None:
    client = watched.service.client
    spoken = watched.line(client.ask("POST", SPEECH, speech(), JSON))
    assert (spoken["category"], spoken["extra"]["voice"]) == ("tts", "vivian")
    assert spoken["extra"]["upstream_path"] == SPEECH
    assert spoken["extra"]["request_bytes"] == len(speech())
    chatted = watched.line(client.ask("POST", CHAT, chat(), JSON))
    assert (chatted["category"], chatted["model"]) == ("llm", MODEL)
    assert chatted["extra"] == {"stream": False, "message_count": 1}


def test_a_failure_says_its_code(watched: Watched) -> None:
    answer = watched.service.play(SAY, model="nobody")
    line = watched.line(answer)
    assert (line["status"], line["model"], line["extra"]) == (400, None, {"code": "model_not_found"})
    failed = watched.line(watched.service.play(SAY, {"fail": "bug"}, stream="true"))
    assert (failed["status"], failed["extra"]["code"]) == (200, "internal_error")
    assert asr(watched)["recent"][-1]["class"] == "5xx"


def test_a215_switched_off_there_is_no_line(watched: Watched) -> None:
    watched.turn("access_log", "off")
    heard(watched, "unlogged")
    assert watched.lines("unlogged") == []


# --- captures -----------------------------------------------------------------------------------------


def test_a216_by_default_nothing_is_captured(environment: Path) -> None:
    with watching(environment / "uncaptured") as watched:
        heard(watched, "quiet")
        assert not watched.captures.exists()


def test_a217_what_a_capture_holds(watched: Watched) -> None:
    watched.turn("payload", "on")
    answer = heard(watched, "kept")
    folder = watched.captured("kept")
    assert folder.parent.name == datetime.now(UTC).date().isoformat()
    assert {path.name for path in folder.iterdir()} == {"meta.json", "req.bin", "req.type", "resp.bin"}
    assert (folder / "req.bin").read_bytes() == json.dumps([SAY]).encode()
    assert (folder / "resp.bin").read_bytes() == answer.body
    assert (folder / "req.type").read_text().startswith("multipart/form-data")
    meta = json.loads((folder / "meta.json").read_text())
    assert (meta["status"], meta["category"], meta["model"]) == (200, "asr", "whisper-small")
    assert (meta["request_id"], meta["resp_bytes"]) == ("kept", len(answer.body))
    assert meta["response_headers"]["X-Request-ID"] == "kept"
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (folder, folder.parent)}
    assert modes == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_a217_a_stream_and_a_relayed_answer(watched: Watched) -> None:
    watched.turn("payload", "on")
    streamed = heard(watched, "stream-1", stream="true")
    assert (watched.captured("stream-1") / "resp.bin").read_bytes() == streamed.body
    client = watched.service.client
    for name, path, body in (("chat-1", CHAT, chat(stream=True)), ("speech-1", SPEECH, speech())):
        answer = client.ask("POST", path, body, JSON | {"X-Request-ID": name})
        folder = watched.captured(name)
        assert answer.status == 200
        assert (folder / "req.bin").read_bytes() == body
        assert (folder / "resp.bin").read_bytes() == answer.body
        assert (folder / "req.type").read_text() == "application/json"


def test_a217_a_refused_upload_is_kept_too(watched: Watched) -> None:
    watched.turn("payload", "on")
    answer = watched.send("refused-1", SAY, model="nobody").answer()
    folder = watched.captured("refused-1")
    assert answer.status == 400
    assert (folder / "req.bin").read_bytes() == json.dumps([SAY]).encode()
    assert (folder / "resp.bin").read_bytes() == answer.body
    assert json.loads((folder / "meta.json").read_text())["status"] == 400


def test_a217_an_id_for_any_file_system_and_twice(watched: Watched) -> None:
    watched.turn("payload", "on")
    for times in (1, 2):
        watched.send("a:b", SAY).answer()
        watched.over("a:b", times)
    assert {path.name for path in watched.captures.glob("*/*")} == {"a_b", "a_b-2"}


def test_a218_keys_are_masked(watched: Watched) -> None:
    watched.turn("payload", "on")
    secret = "sk-do-not-keep"
    named = ("Authorization", "COOKIE", "X-Api-Key", "proxy-authorization", "X-Internal-API-Key")
    headers = dict.fromkeys(named, secret) | {"X-Request-ID": "masked", "X-Other": "shown"}
    watched.service.play(SAY, headers=headers)
    folder = watched.captured("masked")
    sent = json.loads((folder / "meta.json").read_text())["request_headers"]
    kept = {name.lower(): value for name, value in sent.items()}
    assert {kept[name.lower()] for name in named} == {MASK}
    assert kept["x-other"] == "shown"
    assert not any(secret.encode() in path.read_bytes() for path in folder.iterdir())


def test_a219_a_long_answer_is_cut_in_the_capture_only(environment: Path) -> None:
    with watching(environment / "cut", payload=True, payload_response_max_bytes=10) as watched:
        answer = heard(watched, "long", stream="true")
        folder = watched.captured("long")
        meta = json.loads((folder / "meta.json").read_text())
        assert (folder / "resp.bin").read_bytes() == answer.body[:10]
        assert (meta["resp_truncated"], meta["resp_truncate_limit_bytes"]) == (True, 10)
        assert meta["resp_bytes"] == len(answer.body)


def test_a220_beyond_the_cap_the_oldest_go_at_once(environment: Path) -> None:
    with watching(environment / "capped", payload=True, payload_max_bytes=2000) as watched:
        for number in range(8):
            heard(watched, f"n-{number}")
        kept = sorted(path.name for path in watched.captures.glob("*/*"))
        usage = watched.service.client.get(STATE).json["payload_usage"]
        assert 0 < len(kept) < 8
        assert kept == [f"n-{number}" for number in range(8 - len(kept), 8)]
        assert (usage["count"], usage["bytes"] <= 2000) == (len(kept), True)
        assert usage["earliest"] is not None


def test_a221_clear_empties_the_store(watched: Watched) -> None:
    watched.turn("payload", "on")
    heard(watched, "going")
    assert watched.captured("going").exists()
    answer = watched.service.client.ask("POST", f"{STATE}/clear-payload")
    assert (answer.status, answer.json["payload_usage"]["count"]) == (200, 0)
    assert list(watched.captures.iterdir()) == []


def test_the_internal_api_is_never_captured(environment: Path) -> None:
    with watching(environment / "internal", payload=True) as watched:
        body = json.dumps({"messages": [{"role": "user", "content": "secret"}]})
        watched.service.client.ask("POST", "/generate", body, {"X-Internal-API-Key": "k"})
        heard(watched, "after")
        assert [path.name for path in watched.captures.glob("*/*")] == ["after"]


# --- it cannot hurt -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields", [{}, {"stream": "true"}, {"model": "nobody"}], ids=["json", "stream", "bad"]
)
def test_a222_no_switch_changes_an_answer(watched: Watched, fields: dict[str, str]) -> None:
    told = []
    for on in ("off", "on"):
        for key in KEYS:
            watched.turn(key, on)
        answer = watched.send(f"same-{on}", SAY, **fields).answer()
        names = sorted(name for name in answer.headers if name != "x-request-id")
        told.append((answer.status, answer.body, names))
        watched.service.quiet()
    assert told[0] == told[1]


@pytest.mark.parametrize("place", ["/dev/full", "a file", "/proc/nowhere"])
def test_a223_a_folder_that_cannot_be_written_costs_no_request(
    environment: Path, tmp_path: Path, place: str
) -> None:
    taken = tmp_path / "file"
    taken.write_text("not a folder")
    folder = str(taken) if place == "a file" else place
    with watching(environment / "broken", log_dir=folder, payload_dir=folder, payload=True) as watched:
        for number in range(3):
            answer = heard(watched, f"fine-{number}")
            assert answer.json["text"] == "one two"
        scraped = watched.scrape()
        assert scraped["aistack_access_log_dropped_total"][()] == 3
        assert scraped["aistack_access_log_lines_total"][()] == 0
        assert scraped["aistack_payload_dropped_total"][()] == 3
    assert taken.read_text() == "not a folder"


def test_a223_a_full_disk_costs_no_request_and_is_told_once_each_way(
    environment: Path, tmp_path: Path
) -> None:
    """Every write to today's and tomorrow's file ends with ENOSPC; then there is room again."""
    logs = tmp_path / "logs"
    logs.mkdir()
    now = datetime.now(UTC)
    days = [logs / f"access-{now + timedelta(days=n):%Y-%m-%d}.jsonl" for n in range(2)]
    for day in days:
        day.symlink_to("/dev/full")
    with capture_logs() as told, watching(environment / "full", log_dir=str(logs)) as watched:

        def said() -> list[tuple[str, object]]:
            lines = [line for line in told if "access log" in str(line["event"])]
            return [(line["event"], line.get("reason", line.get("dropped"))) for line in lines]

        for number in range(5):
            assert heard(watched, f"full-{number}").status == 200
            watched.over(f"full-{number}")
        scraped = watched.scrape()
        assert scraped["aistack_access_log_dropped_total"][()] == 5
        assert scraped["aistack_access_log_lines_total"][()] == 0
        assert said() == [("the access log cannot be written", "No space left on device")]
        for day in days:
            day.unlink()
        assert heard(watched, "room").status == 200
        watched.over("room")
        (file,) = logs.iterdir()
        (line,) = file.read_text().splitlines()
        assert json.loads(line)["request_id"] == "room"
        assert said()[1:] == [("the access log is written again", 5)]


def test_a223_a_watcher_that_fails_costs_no_request(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("made up")

    monkeypatch.setattr(watched.observability.window, "add", broken)
    monkeypatch.setattr(watched.observability.jobs, "observe", broken)
    assert heard(watched, "still-fine").json["text"] == "one two"


@pytest.mark.parametrize("hook", ["begin", "became_job", "end"])
def test_a223_a_hook_that_fails_costs_no_request(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, hook: str
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("made up")

    monkeypatch.setattr(watched.observability, hook, broken)
    assert watched.service.play(SAY, stream="true").status == 200
    assert watched.service.client.ask("POST", CHAT, chat(), JSON).status == 200


def test_traces_follow_the_callers_context(environment: Path) -> None:
    """Over HTTP: `traceparent` of the request is the parent of the job's span."""
    trace = "0af7651916cd43dd8448eb211c80319c"
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with watching(environment / "traced", metrics=False, access_log=False) as watched:
        service = watched.service
        watched.observability.tracing = Tracing(provider, time.monotonic)
        headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
        assert service.play(SAY, headers=headers).status == 200
        service.quiet()
    (span,) = [span for span in exporter.get_finished_spans() if span.name == "aistack.transcribe"]
    assert f"{span.context.trace_id:032x}" == trace
