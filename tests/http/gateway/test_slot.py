"""A113 to A117 and A147 to A158 over HTTP: one slot, and who holds it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.engines import FAMILIES
from tests.http.gateway.client import BOUND_S, FORM, PATH, Answer, Call, acts, form, types
from tests.http.gateway.service import Gates, Loads, Service, running

SAY = {"say": "one two", "end": 1}
PARAKEET = "nvidia/parakeet-tdt-0.6b-v3"


class Held:
    """A service whose slot is held by a job at a gate."""

    def __init__(self, service: Service, gates: Gates, **fields: str) -> None:
        self.call: Call = service.begin({"say": "zero", "end": 1}, {"gate": "a"}, SAY, **fields)
        self._let_pass = gates.entered()

    def end(self) -> Answer:
        self._let_pass()
        return self.call.answer()


@pytest.fixture
def held(fakes: Service, gates: Gates) -> Iterator[Held]:
    holder = Held(fakes, gates)
    yield holder
    holder.call.close()


# --- leaving, memory, models in turn ------------------------------------------------------------------


@pytest.mark.parametrize("way", ["close", "reset", "half_close"])
def test_a113_a_client_that_leaves_frees_the_slot(way: str, fakes: Service, gates: Gates) -> None:
    since = fakes.mark
    call = fakes.begin({"gate": "a"}, {"gate": "b"}, SAY)
    gates.entered()
    getattr(call, way)()
    assert fakes.ended(since) == "cancelled"
    fakes.quiet()
    assert fakes.play(SAY).status == 200
    call.close()


def test_a113_an_engine_that_does_not_listen_is_killed(fakes: Service, gates: Gates) -> None:
    since = fakes.mark
    call = fakes.begin({"gate": "a"}, {"hang": True}, SAY)
    gates.entered()()
    call.close()
    assert fakes.ended(since) == "cancelled"
    fakes.quiet()
    assert fakes.play(SAY).status == 200


@pytest.mark.parametrize("when", ["load", "run"])
def test_a114_memory_that_runs_out_is_413(when: str, fakes: Service, loads: Loads) -> None:
    script: list[dict[str, Any]] = [SAY]
    if when == "load":
        loads(whisper_medium=[{"fail": "oom"}])
    else:
        script = [{"fail": "oom"}]
    for _ in range(3):  # no cooling down after it
        answer = fakes.play(*script, model="whisper-medium")
        assert (answer.status, answer.error["kind"]) == (413, "overflow")
        assert answer.error["code"] == "out_of_memory"
    loads.clear()
    assert fakes.play(SAY, model="whisper-medium").status == 200
    assert fakes.client.get("/health").status == 200


def test_a115_two_models_in_turn(fakes: Service) -> None:
    for model, wanted in (
        ("small", "whisper-small"),
        ("parakeet", PARAKEET),
        ("small", "whisper-small"),
    ):
        assert fakes.play(SAY, model=model).status == 200
        assert [each for each, entry in fakes.listed().items() if entry.get("loaded")] == [wanted]


def test_a116_the_second_call_finds_the_model_loaded(fakes: Service) -> None:
    assert fakes.play(SAY, model="sensevoice").status == 200
    fakes.play(SAY, model="parakeet")
    first = fakes.mark
    assert fakes.play(SAY, model="sensevoice").status == 200
    second = fakes.mark
    assert fakes.play(SAY, model="sensevoice").status == 200
    assert fakes.path_of(first)[: second - first] == ["preparing", "preparing", "running", "done"]
    assert fakes.path_of(second) == ["running", "done"]


def test_a117_an_idle_model_is_unloaded(environment: Path) -> None:
    with running(environment / "idle", FAMILIES, slots={"idle_unload_s": 0.05}) as service:
        since = service.mark
        assert service.play(SAY).status == 200
        service.reached("done", since)
        unload = service.reached("done", service.transitions.index(service.reached("done", since)) + 1)
        assert (unload.job.op.value, unload.job.route.model) == ("unload", "whisper-small")
        assert not any(entry.get("loaded") for entry in service.listed().values())
        assert service.play(SAY).status == 200, "and comes back when it is asked for"


# --- busy ---------------------------------------------------------------------------------------------


def test_a147_the_second_of_two_is_refused(fakes: Service, held: Held) -> None:
    refused = fakes.play(SAY)
    assert (refused.status, refused.error["kind"]) == (503, "network")
    assert (refused.headers["retry-after"], refused.error["code"]) == ("5", "slot_busy")
    assert held.end().json == {"text": "zero one two"}


def test_a148_the_refusal_comes_at_once(fakes: Service, held: Held) -> None:
    """Before anything else happens: the job is born and done in one transition, never in line."""
    since = fakes.mark
    assert fakes.play(SAY).status == 503
    assert fakes.path_of(since) == ["done"]
    held.end()


def test_a148_a_large_body_is_refused_unread(fakes: Service, held: Held) -> None:
    headers = {"Content-Type": FORM, "Content-Length": str(100 * 1024 * 1024)}
    since = fakes.mark
    refused = fakes.client.begin("POST", PATH, None, headers).answer()
    assert (refused.status, refused.headers["retry-after"]) == (503, "5")
    assert fakes.mark == since, "no job, no upload"
    held.end()


def test_a150_the_refusal_names_both(fakes: Service, held: Held) -> None:
    error = fakes.play(SAY).error
    held.end()
    assert error["provider"] == "aistack"
    assert error["message"].count("transcription") == 2, "who holds it, and what was refused"
    assert (error["holder"]["op"], error["holder"]["model"]) == ("transcribe", "whisper-small")
    assert error["holder"]["since_s"] >= 0


def test_a151_retry_after_only_where_waiting_helps(
    fakes: Service, gates: Gates, loads: Loads, environment: Path
) -> None:
    answers = [fakes.play({"fail": "network"}), fakes.play({"crash": "kill"})]
    loads(**{"whisper-base.en": [{"fail": "network"}]})
    answers += [fakes.play(SAY, model="base.en") for _ in range(3)]
    loads.clear()
    keeper = Held(fakes, gates)
    answers.append(fakes.play(SAY))
    keeper.end()
    with running(environment / "nobody", {}) as service:
        answers += [service.play(SAY), service.play(SAY, model="small")]
    with running(environment / "ending", FAMILIES, server={"drain_grace_s": 30}) as service:
        last = Held(service, gates)
        since = service.mark
        in_line = service.begin(SAY, headers={"Prefer": "wait=60"})
        service.reached("waiting", since)
        service.drain()
        answers.append(in_line.answer())
        assert last.end().status == 200
    told = {(answer.status, answer.error["code"]): "retry-after" in answer.headers for answer in answers}
    assert told == {
        (503, "model_load_failed"): False,
        (500, "engine_crashed"): False,
        (503, "load_cooling_down"): True,
        (503, "slot_busy"): True,
        (503, "shutting_down"): True,
        (503, "backend_missing"): False,
    }


@pytest.mark.parametrize(
    ("script", "fields", "status"),
    [
        ([SAY], {}, 200),
        ([SAY], {"stream": "true"}, 200),
        ([{"fail": "malformed"}], {}, 400),
        ([SAY, {"fail": "bug"}], {"stream": "true"}, 200),
        ([{"fail": "oom"}], {}, 413),
        ([{"crash": "segv"}], {}, 500),
        ([{"crash": "exit"}], {"stream": "true"}, 500),
        ([SAY], {"stream": "perhaps"}, 400),
    ],
)
def test_a152_afterwards_the_slot_is_free(
    script: list[dict[str, Any]], fields: dict[str, str], status: int, fakes: Service
) -> None:
    assert fakes.play(*script, **fields).status == status
    assert fakes.play(SAY).status == 200, "at once"


def test_a153_after_a_disconnect_in_a_stream_the_next_call_is_served(
    fakes: Service, gates: Gates
) -> None:
    call = fakes.begin(SAY, {"gate": "a"}, SAY, stream="true")
    assert next(call.events())["type"] == "transcript.text.delta"
    gates.entered()
    since = fakes.mark
    call.close()
    assert fakes.ended(since) == "cancelled"
    assert fakes.play(SAY, stream="true").status == 200


@pytest.mark.parametrize("when", ["upload", "load", "in line", "run"])
def test_a154_who_leaves_before_the_first_byte_leaks_nothing(
    when: str, fakes: Service, gates: Gates, loads: Loads
) -> None:
    since = fakes.mark
    if when == "upload":
        body = form(acts(SAY), "x.wav", {})
        headers = {"Content-Type": FORM, "Content-Length": str(len(body) + 1000)}
        fakes.client.begin("POST", PATH, body, headers).close()
    elif when == "load":
        loads(whisper_tiny=[{"gate": "load"}])
        call = fakes.begin(SAY, model="tiny")
        let_pass = gates.entered("load")
        call.close()
        fakes.reached("cancelled", since)
        let_pass()
        assert fakes.ended(since) == "cancelled"
        assert fakes.listed()["whisper-small"]["loaded"] is False
        assert fakes.play(SAY, model="tiny").status == 200
    elif when == "in line":
        holder = Held(fakes, gates)
        since = fakes.mark
        call = fakes.begin(SAY, headers={"Prefer": "wait=30"})
        fakes.reached("waiting", since)
        call.close()
        assert fakes.ended(since) == "cancelled"
        assert holder.end().status == 200
    else:
        call = fakes.begin({"gate": "a"}, SAY, stream="true")
        gates.entered()
        call.close()
        assert fakes.ended(since) == "cancelled"
    fakes.quiet()
    last = fakes.mark
    assert fakes.play(SAY).status == 200
    if when == "upload":
        assert last == since, "an upload that never ended became no job"


def test_a155_obeying_retry_after_succeeds(fakes: Service, held: Held) -> None:
    """The consumer's loop: on 503 with Retry-After, wait (here: for what it hopes for) and retry."""
    tries: list[int] = []
    while not tries or tries[-1] != 200:
        assert len(tries) < 3
        answer = fakes.play(SAY)
        tries.append(answer.status)
        if answer.status == 503:
            assert int(answer.headers["retry-after"]) == 5
            assert held.end().status == 200
    assert tries == [503, 200]


def test_a156_nobody_queues_who_did_not_ask(fakes: Service, gates: Gates) -> None:
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(fakes.play, {"gate": "a"}, SAY) for _ in range(8)]
        let_pass = gates.entered()
        refused = list(islice(as_completed(calls, BOUND_S), 7))
        assert [call.result().status for call in refused] == [503] * 7
        let_pass()
        assert sorted(call.result().status for call in calls) == [200, *[503] * 7]


def test_a157_everything_else_answers_while_busy(fakes: Service, held: Held) -> None:
    paths = ("/health", "/v1/models", "/v1/models/auto", "/v1/models/whisper-small")
    assert [fakes.client.get(path).status for path in paths] == [200] * 4
    assert held.end().status == 200


@pytest.mark.parametrize("stream", ["true", "false"])
def test_a158_invalid_requests_do_not_disturb_the_running_one(
    stream: str, fakes: Service, gates: Gates
) -> None:
    running_one = Held(fakes, gates, stream=stream)
    statuses = [
        fakes.play(SAY, model="nobody").status,
        fakes.play(SAY, stream="perhaps").status,
        fakes.client.transcribe(None).status,
        fakes.client.ask("POST", PATH, b"--xBOUNDx broken", {"Content-Type": FORM}).status,
        fakes.client.ask("DELETE", PATH).status,
        fakes.play(SAY).status,
    ]
    assert statuses == [400, 400, 400, 400, 405, 503]
    answer = running_one.end()
    assert answer.status == 200
    if stream == "true":
        assert types(answer.events) == ["delta", "delta", "done"]
    else:
        assert answer.json == {"text": "zero one two"}
