"""A118 to A142 over HTTP: transcription as a stream of events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.http.gateway.client import Answer, deltas, types
from tests.http.gateway.service import Gates, Service
from tests.http.gateway.sounds import DE, EN, LONG, SOUNDS
from tests.support.listening import HELLO, samples_of, silence, write_wav

ONE = {"say": "one", "end": 1}
TWO = {"say": "two", "start": 1, "end": 2}


class Streamed:
    """A real engine's stream, and the same audio as verbose_json."""

    def __init__(self, service: Service, file: Path) -> None:
        self.answer: Answer = service.client.transcribe(file, stream="true")
        self.events = self.answer.events
        self.verbose = service.client.transcribe(file, response_format="verbose_json").json

    @property
    def deltas(self) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == "transcript.text.delta"]


@pytest.fixture(scope="module", params=list(SOUNDS))
def streamed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Streamed:
    service, sound = SOUNDS[request.param]
    return Streamed(request.getfixturevalue(service), sound(tmp_path_factory.mktemp("sound")).file)


def test_a118_a_stream_of_events(streamed: Streamed) -> None:
    assert (streamed.answer.status, streamed.answer.complete) == (200, True)
    assert streamed.answer.headers["content-type"].split(";")[0] == "text/event-stream"


def test_a119_every_event_is_one_line_of_json(streamed: Streamed) -> None:
    body = streamed.answer.body
    assert body.endswith(b"\n\n")
    assert b"\r" not in body
    for event in streamed.events:  # reading them has checked one `data:` line each
        assert isinstance(event["type"], str)
    assert body.count(b"data: ") == len(streamed.events)


def test_a120_deltas_then_exactly_one_done(streamed: Streamed) -> None:
    kinds = types(streamed.events)
    assert kinds == ["delta"] * (len(kinds) - 1) + ["done"]
    assert len(kinds) >= 2


def test_a121_a_delta_arrives_before_the_audio_is_done(fakes: Service, gates: Gates) -> None:
    call = fakes.begin(ONE, {"gate": "a"}, TWO, stream="true")
    events = call.events()
    let_pass = gates.entered()
    assert next(events)["delta"] == "one"
    assert fakes.snapshot.slots[0].holder is not None, "the engine still has the second half to do"
    let_pass()
    assert [event["type"] for event in events] == ["transcript.text.delta", "transcript.text.done"]
    call.close()


def test_a122_a_delta_carries_its_segment(streamed: Streamed) -> None:
    assert len(streamed.deltas) == len(streamed.verbose["segments"])
    for event in streamed.deltas:
        segment = event["segment"]
        assert segment["text"] == event["delta"].strip()
        assert segment["start"] <= segment["end"]
        assert [word["word"] for word in segment["words"]] == segment["text"].split()
        assert all(word["start"] <= word["end"] for word in segment["words"])


def test_a123_in_time_order_and_the_same_text(streamed: Streamed) -> None:
    assert deltas(streamed.events) == streamed.events[-1]["text"] == streamed.verbose["text"]
    times = [(event["segment"]["start"], event["segment"]["end"]) for event in streamed.deltas]
    assert times == sorted(times)
    assert times == [(each["start"], each["end"]) for each in streamed.verbose["segments"]]


def test_a124_done_has_language_and_duration(streamed: Streamed) -> None:
    done = streamed.events[-1]
    assert (done["language"], done["duration"]) == (
        streamed.verbose["language"],
        streamed.verbose["duration"],
    )


def test_a124_the_detected_language(whisper: Service) -> None:
    done = whisper.client.transcribe(DE, stream="true").events[-1]
    assert (done["language"], done["text"].lower()) == ("de", "zwei sieben eins acht")


@pytest.mark.parametrize("model", ["whisper-small", "sensevoice"])
def test_a125_models_that_stream_do_not_warn(model: str, fakes: Service) -> None:
    assert types(fakes.play(ONE, TWO, stream="true", model=model).events) == ["delta", "delta", "done"]


def test_a126_a127_a128_a129_a_model_that_cannot_stream(fakes: Service) -> None:
    warning, delta, done = fakes.play(ONE, TWO, stream="true", model="parakeet").events
    assert (warning["type"], warning["code"]) == ("warning", "streaming_not_supported")
    assert (warning["model"], type(warning["message"])) == ("nvidia/parakeet-tdt-0.6b-v3", str)
    assert delta["delta"] == done["text"] == "one two"
    assert (delta["segment"]["start"], delta["segment"]["end"]) == (0, 2)
    assert [word["word"] for word in delta["segment"]["words"]] == ["one", "two"]


@pytest.mark.parametrize(("hint", "first"), [("de", "warning"), ("zh", "delta"), ("tr", "delta")])
def test_a130_auto_streams_or_not_by_where_it_routes(hint: str, first: str, fakes: Service) -> None:
    assert types(fakes.play(ONE, stream="true", language=hint).events)[0] == first


@pytest.mark.parametrize("word", ["json", "text", "srt", "verbose_json", "nonsense", ""])
def test_a131_the_format_is_ignored(word: str, fakes: Service) -> None:
    answer = fakes.play(ONE, stream="true", response_format=word)
    assert (answer.status, types(answer.events)) == (200, ["delta", "done"])


def test_a132_busy_is_a_plain_503(fakes: Service, gates: Gates) -> None:
    call = fakes.begin({"gate": "a"}, ONE, stream="true")
    let_pass = gates.entered()
    refused = fakes.play(ONE, stream="true")
    assert (refused.status, refused.error["kind"]) == (503, "network")
    assert refused.headers["retry-after"] == "5"
    assert refused.headers["content-type"].startswith("application/json")
    let_pass()
    assert types(call.answer().events) == ["delta", "done"]


@pytest.mark.parametrize(
    ("act", "kind", "code"),
    [
        ({"fail": "oom"}, "overflow", "out_of_memory"),
        ({"fail": "malformed"}, "malformed", "unsupported_audio"),
        ({"fail": "network"}, "network", "model_load_failed"),
        ({"fail": "bug"}, "unknown", "internal_error"),
        ({"crash": "kill"}, "unknown", "engine_crashed"),
        ({"crash": "segv"}, "unknown", "engine_crashed"),
    ],
)
def test_a133_a134_a_failure_in_a_stream_is_its_last_event(
    act: dict[str, Any], kind: str, code: str, fakes: Service
) -> None:
    answer = fakes.play(ONE, act, TWO, stream="true")
    assert (answer.status, answer.complete) == (200, True)
    assert types(answer.events) == ["delta", "error"]
    last = answer.events[-1]
    assert last["kind"] == last["error"]["kind"] == kind
    assert last["provider"] == last["error"]["provider"]
    assert last["message"] == last["error"]["message"]
    assert last["message"]
    assert last["error"]["code"] == code
    assert fakes.play(ONE).status == 200, "and the next request works"


@pytest.fixture
def minutes(tmp_path: Path) -> Path:
    """Three minutes, which keep Whisper busy for a while."""
    return write_wav(tmp_path / "x.wav", np.tile(samples_of(LONG), 3))


def test_a121_a135_a147_whispers_deltas_come_while_it_works_until_the_client_leaves(
    whisper: Service, minutes: Path
) -> None:
    since = whisper.mark
    call = whisper.client.send(minutes, stream="true")
    assert next(call.events())["type"] == "transcript.text.delta"
    assert "done" not in whisper.path_of(since), "three minutes are not decoded yet"
    assert whisper.client.transcribe(EN).status == 503
    since = whisper.mark
    call.close()
    assert whisper.ended(since) == "cancelled"
    whisper.quiet()
    assert whisper.client.transcribe(EN).status == 200


def test_a113_a135_who_leaves_stops_whisper_before_any_answer(whisper: Service, minutes: Path) -> None:
    since = whisper.mark
    call = whisper.client.send(minutes)
    whisper.reached("running", since)
    call.half_close()
    assert whisper.ended(since) == "cancelled"
    whisper.quiet()
    assert whisper.client.transcribe(EN).status == 200
    call.close()


@pytest.mark.parametrize("stream", ["true", "false"])
def test_a135_who_leaves_stops_the_embedded_engine(stream: str, sphinx: Service, tmp_path: Path) -> None:
    file = write_wav(tmp_path / "x.wav", np.tile(samples_of(HELLO), 5))
    since = sphinx.mark
    call = sphinx.client.send(file, stream=stream)
    if stream == "true":
        next(call.events())
    else:
        sphinx.reached("running", since)
    call.close()
    assert sphinx.ended(since) == "cancelled"
    sphinx.quiet()


@pytest.mark.parametrize("fields", [{"model": "nobody"}, {"temperature": "hot"}, None])
def test_a137_what_can_never_run_is_an_ordinary_400(fields: Any, fakes: Service) -> None:
    audio = None if fields is None else b"x"
    answer = fakes.client.transcribe(audio, stream="true", **(fields or {}))
    assert (answer.status, answer.error["kind"]) == (400, "malformed")
    assert answer.headers["content-type"].startswith("application/json")


def test_a137_the_engines_400_before_the_first_event_is_in_no_stream(real: Service) -> None:
    """What only decoding can find out is a status as well, as long as no header is out."""
    answer = real.client.transcribe(b"no audio at all", stream="true")
    assert (answer.status, answer.error["code"]) == (400, "unsupported_audio")


def test_a138_there_is_no_end_mark(streamed: Streamed) -> None:
    assert b"[DONE]" not in streamed.answer.body


def test_a139_non_ascii_text_arrives_intact(fakes: Service) -> None:
    said = "Grüße, 世界 🙂 \u2028naïve"
    answer = fakes.play({"say": said, "end": 1}, stream="true")
    assert answer.events[0]["delta"] == answer.events[-1]["text"] == said
    assert "世界 🙂".encode() in answer.body, "UTF-8, not escapes"


def test_a140_no_cache(streamed: Streamed) -> None:
    assert streamed.answer.headers["cache-control"] == "no-cache"


def test_a141_silence_streams_one_done(real: Service, tmp_path: Path) -> None:
    answer = real.client.transcribe(write_wav(tmp_path / "x.wav", silence(3)), stream="true")
    assert types(answer.events) == ["done"]
    assert answer.events[0]["text"] == ""
    assert answer.events[0]["duration"] == pytest.approx(3, abs=0.05)


def test_a142_the_slot_is_held_until_the_last_event_and_then_free(fakes: Service, gates: Gates) -> None:
    call = fakes.begin(ONE, {"gate": "a"}, TWO, {"gate": "b"}, stream="true")
    events = call.events()
    for name, said in (("a", "one"), ("b", " two")):
        let_pass = gates.entered(name)
        assert next(events)["delta"] == said
        assert fakes.play(ONE).status == 503
        let_pass()
    assert next(events)["type"] == "transcript.text.done"
    assert fakes.play(ONE).status == 200, "at once: nobody has to wait for the slot"
    assert list(events) == []
    call.close()
