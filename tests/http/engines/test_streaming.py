"""A116, A125 to A130, A135, A136 over HTTP: streams of the real engines, and clients that leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.server import until
from tests.http.engines.conftest import BOUND_S, PARAKEET_ID, SENSEVOICE_ID, child
from tests.http.engines.sounds import EN, LONG, repeated
from tests.http.gateway.client import Call, deltas, types
from tests.http.gateway.service import Service


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quarter of an hour: work for a while."""
    return repeated(tmp_path_factory.mktemp("sound") / "long.wav", 15)


@pytest.fixture(params=["parakeet", "sensevoice"])
def engine(request: pytest.FixtureRequest) -> tuple[str, Service]:
    service: Service = request.getfixturevalue(request.param)
    assert service.client.transcribe(EN, model=request.param).status == 200, "it is in the slot now"
    service.quiet()
    return request.param, service


def test_a116_the_second_call_loads_nothing(engine: tuple[str, Service]) -> None:
    name, service = engine
    before, since = child(service), service.mark
    assert service.client.transcribe(EN, model=name).status == 200
    service.quiet()
    assert child(service) == before
    assert service.path_of(since) == ["running", "done"], "no preparing"


def test_a125_sensevoice_streams_without_a_warning(sensevoice: Service) -> None:
    answer = sensevoice.client.transcribe(LONG, model="sensevoice", stream="true")
    kinds = types(answer.events)
    assert kinds == ["delta"] * (len(kinds) - 1) + ["done"]
    assert len(kinds) > 10, "a delta for each stretch of speech"
    assert deltas(answer.events) == answer.events[-1]["text"]
    whole = sensevoice.client.transcribe(LONG, model="sensevoice").json["text"]
    assert answer.events[-1]["text"] == whole


def test_a121_a125_its_first_delta_comes_while_it_works(sensevoice: Service, long: Path) -> None:
    since = sensevoice.mark
    call = sensevoice.client.send(long, model="sensevoice", stream="true")
    assert next(call.events())["type"] == "transcript.text.delta"
    assert "done" not in sensevoice.path_of(since)
    call.close()
    assert sensevoice.ended(since) == "cancelled"


@pytest.fixture(scope="module")
def downgraded(services: dict[str, Service]) -> list[dict[str, Any]]:
    answer = services["parakeet"].client.transcribe(LONG, model="parakeet", stream="true")
    assert (answer.status, answer.complete) == (200, True)
    return answer.events


def test_a126_parakeet_begins_with_a_warning(downgraded: list[dict[str, Any]]) -> None:
    warning = downgraded[0]
    assert warning["type"] == "warning"
    assert {"code", "model", "message"} <= set(warning)
    assert warning["message"]


def test_a127_which_names_itself_and_the_model(downgraded: list[dict[str, Any]]) -> None:
    assert downgraded[0]["code"] == "streaming_not_supported"
    assert downgraded[0]["model"] == PARAKEET_ID


def test_a128_then_one_delta_with_everything_then_done(
    downgraded: list[dict[str, Any]], parakeet: Service
) -> None:
    assert types(downgraded) == ["warning", "delta", "done"]
    whole = parakeet.client.transcribe(LONG, model="parakeet").json["text"]
    assert downgraded[1]["delta"] == downgraded[2]["text"] == whole


def test_a129_its_times_span_the_audio_and_it_has_the_words(
    downgraded: list[dict[str, Any]], parakeet: Service
) -> None:
    told = parakeet.client.transcribe(LONG, model="parakeet", response_format="verbose_json").json
    segment = downgraded[1]["segment"]
    assert (segment["start"], segment["end"]) == (0, told["duration"])
    assert segment["words"] == told["words"]


def test_a130_auto_streams_or_not_by_where_the_hint_leads(
    parakeet: Service, sensevoice: Service
) -> None:
    answer = parakeet.client.transcribe(EN, language="fr", stream="true")
    assert types(answer.events) == ["warning", "delta", "done"]
    assert answer.events[0]["model"] == PARAKEET_ID
    answer = sensevoice.client.transcribe(EN, language="zh", stream="true")
    assert answer.headers["x-aistack-model"] == SENSEVOICE_ID
    assert set(types(answer.events)) == {"delta", "done"}


# --- leaving -----------------------------------------------------------------------------------------


def midway(service: Service, since: int) -> None:
    """Wait until the engine has told that it is at work on the audio, as a refused caller sees it."""
    service.reached("running", since)

    def at_work() -> bool:
        refused = service.client.transcribe(EN)
        return refused.status == 503 and refused.error["holder"].get("progress", 0) > 0

    until(at_work, "progress", BOUND_S)


def left(service: Service, call: Call, before: int, name: str) -> None:
    """The call is given up: the slot is free, the engine still there, and as good as before."""
    since = service.mark
    call.reset()
    assert service.ended(since) == "cancelled"
    service.quiet()
    assert service.snapshot.slots[0].holder is None
    assert child(service) == before, "it had to be killed"
    assert psutil.pid_exists(before)
    assert service.client.transcribe(EN, model=name).status == 200


def test_a135_who_leaves_a_stream_frees_the_slot(sensevoice: Service, long: Path) -> None:
    assert sensevoice.client.transcribe(EN, model="sensevoice").status == 200
    before = child(sensevoice)
    call = sensevoice.client.send(long, model="sensevoice", stream="true")
    next(call.events())
    left(sensevoice, call, before, "sensevoice")


@pytest.mark.parametrize("stream", ["false", "true"])
def test_a135_a136_who_leaves_a_job_midway(stream: str, engine: tuple[str, Service], long: Path) -> None:
    name, service = engine
    before, since = child(service), service.mark
    call = service.client.send(long, model=name, stream=stream)
    midway(service, since)
    left(service, call, before, name)


def test_a136_who_leaves_at_the_very_beginning(parakeet: Service, long: Path) -> None:
    assert parakeet.client.transcribe(EN, model="parakeet").status == 200
    before, since = child(parakeet), parakeet.mark
    call = parakeet.client.send(long, model="parakeet")
    parakeet.reached("running", since)
    left(parakeet, call, before, "parakeet")
