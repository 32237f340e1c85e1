"""A194 to A200 over HTTP: what the operator sees, and the few things he may do."""

from __future__ import annotations

import gzip
import json
import logging
import os
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from aistack.config import LogSection
from aistack.observe import log
from aistack.observe.log_ring import RING
from tests.doubles.engines import FAMILIES
from tests.doubles.upstreams import JSON, Hold
from tests.http.gateway.client import Answer
from tests.http.gateway.service import Gates, Service, running

API = "/admin/api/"
READS = ("lock", "slots", "line", "cache", "gpu", "models", "timeline", "logs", "state")
CHANGES = ("reset-asr-state", "models/load", "models/unload")
SAY = {"say": "one two", "end": 1}
SMALL = "whisper-small"
WAITS = {"Prefer": "wait=30"}


def see(service: Service, name: str) -> Any:
    answer = service.client.get(API + name)
    assert answer.status == 200, answer.body
    return answer.json


def do(service: Service, name: str, headers: dict[str, str] | None = None, **fields: Any) -> Answer:
    body = json.dumps(fields)
    return service.client.ask("POST", API + name, body, {**JSON, **(headers or {})})


@pytest.fixture
def logged() -> Iterator[None]:
    """Logging as in the service, to nowhere but the ring."""
    root, own = logging.getLogger(), logging.getLogger(log.SERVICE)
    levels = root.level, own.level
    nowhere = os.open(os.devnull, os.O_WRONLY)
    log.configure(LogSection(level="info", format="json"), nowhere)
    yield
    log.close()
    os.close(nowhere)
    root.setLevel(levels[0])
    own.setLevel(levels[1])
    structlog.reset_defaults()


# --- the page ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/admin", "/admin/"])
def test_a194_the_page(fakes: Service, path: str) -> None:
    page = fakes.client.get(path)
    assert page.status == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "<title>aistack admin</title>" in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_a194_whoever_asks_for_nothing_is_led_to_it(fakes: Service) -> None:
    answer = fakes.client.get("/")
    assert (answer.status, answer.headers["location"]) == (302, "/admin")


def test_a194_every_file_of_the_page_is_there_and_ours(fakes: Service) -> None:
    wanted = re.findall(r'(?:src|href)="([^"#]+)"', fakes.client.get("/admin").text)
    assert len(wanted) > 4
    while wanted:
        path = wanted.pop()
        assert path.startswith("/admin/static/")
        file = fakes.client.get(path)
        assert file.status == 200, path
        wanted += ["/admin/static/" + name for name in re.findall(r'from "\./([^"]+)"', file.text)]
        assert not re.search(r"https?://(?!www\.w3\.org/)", file.text), path
    assert fakes.client.get("/admin/static/../operations.py").status == 404


# --- the facts ---------------------------------------------------------------------------------------


def test_a195_idle_then_busy_with_the_holder(fakes: Service, gates: Gates) -> None:
    assert see(fakes, "lock") == {"state": "IDLE", "holder": None, "slots": 1, "held": 0}
    call = fakes.begin({"gate": "a"}, SAY)
    let_pass = gates.entered()
    assert see(fakes, "lock") == {"state": "BUSY", "holder": "asr", "slots": 1, "held": 1}
    let_pass()
    assert call.answer().status == 200
    fakes.quiet()
    assert see(fakes, "lock")["state"] == "IDLE"


@pytest.mark.parametrize(("kind", "capability"), [("chat", "llm"), ("speech", "tts")])
def test_a195_each_capability(relays: Service, hold: Hold, kind: str, capability: str) -> None:
    hold(kind)
    assert see(relays, "lock")["holder"] == capability


def test_a196_provider_key_category_idle(fakes: Service, gates: Gates) -> None:
    do(fakes, "reset-asr-state")
    assert see(fakes, "cache") == {"entries": [], "idle_unload_s": 0}
    call = fakes.begin({"gate": "a"}, SAY, model=SMALL)
    let_pass = gates.entered()
    (used,) = see(fakes, "cache")["entries"]
    assert used["idle_s"] is None
    let_pass()
    call.answer()
    fakes.quiet()
    (entry,) = see(fakes, "cache")["entries"]
    assert 0 <= entry.pop("idle_s") < 30
    assert entry == {
        "provider": "Faster-Whisper",
        "key": SMALL,
        "category": "asr",
        "device": "cpu",
    }


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("", 200),
        ("?n=1", 1),
        ("?n=500", 500),
        ("?n=0", 1),
        ("?n=-7", 1),
        ("?n=501", 500),
        ("?n=9e9", None),
    ],
)
@pytest.mark.usefixtures("logged")
def test_a197_the_last_lines(fakes: Service, asked: str, given: int | None) -> None:
    for number in range(600):
        structlog.get_logger("aistack.job").info("line", number=number)
    answer = fakes.client.get(API + "logs" + asked)
    if given is None:
        assert (answer.status, answer.error["code"], answer.error["param"]) == (
            400,
            "invalid_field",
            "n",
        )
        return
    lines = answer.json["lines"]
    assert len(lines) == given
    assert [line["number"] for line in lines] == list(range(600 - given, 600))
    assert {"timestamp", "level", "service", "message"} <= set(lines[0])


@pytest.mark.usefixtures("logged")
def test_a197_only_what_is_new(fakes: Service) -> None:
    structlog.get_logger("aistack.job").info("before")
    newest = see(fakes, "logs?n=1")["newest"]
    assert see(fakes, f"logs?after={newest}") == {"newest": newest, "lines": []}
    fakes.play(SAY)
    fakes.quiet()
    fresh = see(fakes, f"logs?after={newest}")
    assert [line["message"] for line in fresh["lines"]] == ["http.access"]
    assert fresh["newest"] == newest + 1 == RING.count


def test_a198_memory_without_a_card(fakes: Service) -> None:
    fakes.play(SAY, model=SMALL)
    told = see(fakes, "gpu")
    assert told["cards"] == []
    assert "processor" in told["reason"]
    engines = {each["engine"]: each for each in told["processes"]}
    assert engines["gateway"]["pid"] == os.getpid()
    assert engines["whisper"]["device"] == "cpu"
    assert engines["whisper"]["rss_mb"] > 1


# --- slots, line, timeline, state --------------------------------------------------------------------


def test_slots_line_and_timeline_while_one_works_and_one_waits(fakes: Service, gates: Gates) -> None:
    holder = fakes.begin({"progress": [3, 12]}, {"gate": "a"}, SAY, model=SMALL)
    let_pass = gates.entered()
    since = fakes.mark
    waits = fakes.client.send(json.dumps([SAY]).encode(), headers=WAITS, model=SMALL)
    fakes.reached("waiting", since)
    told = see(fakes, "slots")
    (slot,) = told["slots"]
    assert (told["mode"], slot["device"], slot["state"]) == ("serving", "cpu", "running")
    assert slot["resident"] == {"backend": "whisper", "model": SMALL, "category": "asr"}
    assert slot["holder"]["op"] == "transcribe"
    assert slot["holder"]["step"] == "run"
    assert slot["holder"]["since"] <= slot["holder"]["state_since"]
    assert (
        slot["holder"]["progress"].items()
        >= {"done": 3, "total": 12, "unit": "s", "share": 0.25}.items()
    )
    line = see(fakes, "line")
    assert line["places"] == 16
    (waiting,) = line["line"]
    assert (waiting["model"], waiting["patience_s"]) == (SMALL, 30)
    let_pass()
    assert holder.answer().status == waits.answer().status == 200
    fakes.quiet()
    assert see(fakes, "line")["line"] == []
    first, second = see(fakes, "timeline?n=2")["jobs"]
    assert waiting["job_id"] == second["job_id"]
    assert [phase["phase"] for phase in second["phases"]] == ["waiting", "running"]
    assert second["submitted"] < first["ended"] <= second["phases"][1]["start"]
    for job in (first, second):
        times = [moment for phase in job["phases"] for moment in (phase["start"], phase["end"])]
        assert times == sorted(times)
        assert (job["outcome"], job["capability"], job["device"]) == ("ok", "asr", "cpu")
        assert job["ended"] == times[-1]


def test_a_refused_call_is_told_apart(fakes: Service, gates: Gates) -> None:
    call = fakes.begin({"gate": "a"}, SAY)
    let_pass = gates.entered()
    jobs = len(see(fakes, "timeline")["jobs"])
    refused = fakes.play(SAY)
    assert refused.status == 503
    told = see(fakes, "timeline")
    assert len(told["jobs"]) == jobs
    assert told["refused"][-1]["code"] == "slot_busy"
    assert told["refused"][-1]["request_id"] == refused.headers["x-request-id"]
    let_pass()
    call.answer()


def test_the_state_is_all_of_it_and_is_not_sent_twice(fakes: Service) -> None:
    fakes.play(SAY)
    fakes.quiet()
    first = fakes.client.get(API + "state")
    assert {"version", "started", "mode", "slots", "line", "memory", "timeline"} <= set(first.json)
    assert first.headers["cache-control"] == "no-cache"
    tag = first.headers["etag"]
    assert first.json["slots"] == see(fakes, "slots")["slots"]
    asked = urllib.request.Request(
        f"http://127.0.0.1:{fakes.port}{API}state", headers={"Accept-Encoding": "gzip"}
    )
    with urllib.request.urlopen(asked, timeout=30) as packed:
        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed.read()).startswith(b'{"version":')
    same = fakes.client.get(API + "state", {"If-None-Match": "*"})
    assert (same.status, same.body) == (304, b"")
    fakes.play(SAY)
    fakes.quiet()
    changed = fakes.client.get(API + "state", {"If-None-Match": tag})
    assert changed.status == 200
    assert changed.headers["etag"] != tag


def test_models_say_what_can_be_loaded(fakes: Service) -> None:
    told = {model["id"]: model for model in see(fakes, "models")["models"]}
    assert told["auto"]["loadable"] is False
    assert told[SMALL].items() >= {"loadable": True, "on_disk": True, "capabilities": ["asr"]}.items()
    assert set(told) == set(fakes.listed())


# --- changing ----------------------------------------------------------------------------------------


def test_a199_a_reset_unloads_and_counts(fakes: Service, gates: Gates) -> None:
    fakes.play(SAY, model=SMALL)
    fakes.quiet()
    answer = do(fakes, "reset-asr-state")
    assert answer.status == 200
    assert answer.json == {"evicted": 1, "remaining": {"entries": [], "idle_unload_s": 0}}
    assert fakes.snapshot.slots[0].resident is None
    assert do(fakes, "reset-asr-state").json["evicted"] == 0


def test_a199_while_busy_nothing_is_evicted(fakes: Service, gates: Gates) -> None:
    call = fakes.begin({"gate": "a"}, SAY, model=SMALL)
    let_pass = gates.entered()
    told = do(fakes, "reset-asr-state").json
    assert told["evicted"] == 0
    assert [entry["key"] for entry in told["remaining"]["entries"]] == [SMALL]
    let_pass()
    assert call.answer().json["text"] == "one two"


def test_a200_other_kinds_stay_and_the_next_call_loads_again(environment: Path) -> None:
    targets = {"whisper": FAMILIES["whisper"], "espeak": "aistack.engines.espeak:Espeak"}
    with running(environment / "reset", targets, relays=True) as service:
        since = service.mark
        assert do(service, "models/load", model="espeak-ng").status == 202
        assert service.ended(since) == "ok"
        service.quiet()
        assert do(service, "reset-asr-state").json["evicted"] == 0
        (kept,) = see(service, "cache")["entries"]
        assert (kept["key"], kept["category"]) == ("espeak-ng", "tts")
        assert service.play(SAY, model=SMALL).status == 200
        service.quiet()
        assert do(service, "reset-asr-state").json["evicted"] == 1
        since = service.mark
        assert service.play(SAY, model=SMALL).json["text"] == "one two"
        assert "preparing" in service.path_of(since)


def test_a_model_is_loaded_and_unloaded_at_a_word(fakes: Service) -> None:
    do(fakes, "reset-asr-state")
    since = fakes.mark
    begun = do(fakes, "models/load", model=SMALL)
    assert (begun.status, begun.json["status"], begun.json["model"]) == (202, "accepted", SMALL)
    assert fakes.ended(since) == "ok"
    fakes.quiet()
    assert see(fakes, "cache")["entries"][0]["key"] == SMALL
    again = do(fakes, "models/load", model=SMALL)
    assert (again.status, again.json["status"]) == (202, "ok")
    since = fakes.mark
    assert do(fakes, "models/unload", model=SMALL).status == 202
    assert fakes.ended(since) == "ok"
    fakes.quiet()
    assert see(fakes, "cache")["entries"] == []
    assert do(fakes, "models/unload", model=SMALL).json["status"] == "ok"


def test_a_held_slot_is_left_alone(fakes: Service, gates: Gates) -> None:
    call = fakes.begin({"gate": "a"}, SAY, model=SMALL)
    let_pass = gates.entered()
    for name, model in (("models/load", "sensevoice"), ("models/unload", SMALL)):
        answer = do(fakes, name, model=model)
        assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (
            503,
            "slot_busy",
            "5",
        )
    let_pass()
    assert call.answer().json["text"] == "one two"


def test_what_cannot_be_loaded(fakes: Service) -> None:
    for fields, told in (
        ({"model": "no-such"}, (404, "model_not_found")),
        ({"model": SMALL, "more": 1}, (400, "invalid_field")),
        ({}, (400, "missing_field")),
        ({"model": 7}, (400, "invalid_field")),
    ):
        answer = do(fakes, "models/load", **fields)
        assert (answer.status, answer.error["code"]) == told


# --- who may -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHANGES)
def test_pages_of_others_change_nothing(fakes: Service, name: str) -> None:
    fakes.play(SAY, model=SMALL)
    fakes.quiet()
    before = fakes.snapshot.slots[0].resident
    assert before is not None
    for origin in ("http://elsewhere.test", "null", f"http://127.0.0.1:{fakes.port + 1}"):
        answer = do(fakes, name, {"Origin": origin}, model=SMALL)
        assert (answer.status, answer.error["code"]) == (403, "forbidden_origin")
    rebound = do(fakes, name, {"Host": "elsewhere.test"}, model=SMALL)
    assert (rebound.status, rebound.error["code"]) == (403, "forbidden_origin")
    assert fakes.client.get(API + name).status == 405
    fakes.quiet()
    assert fakes.snapshot.slots[0].resident == before


def test_our_own_page_may(fakes: Service) -> None:
    own = {"Origin": f"http://127.0.0.1:{fakes.port}"}
    assert do(fakes, "reset-asr-state", own).status == 200


def test_data_ask_for_the_key_and_pages_do_not(environment: Path) -> None:
    with running(environment / "keyed", FAMILIES, server={"api_keys": ("right",)}) as service:
        for path in ("/admin", "/admin/", "/admin/static/main.js"):
            assert service.client.get(path).status == 200
        for name in READS:
            refused = service.client.get(API + name)
            assert (refused.status, refused.error["code"]) == (401, "unauthorized")
            known = service.client.get(API + name, {"Authorization": "Bearer right"})
            assert known.status == 200
        for name in CHANGES:
            for headers in ({}, {"Authorization": "Bearer wrong"}):
                refused = do(service, name, headers, model=SMALL)
                assert (refused.status, refused.error["code"]) == (401, "unauthorized")
