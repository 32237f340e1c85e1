"""OpenAI's own Python library against the real command line, as it comes and with strict validation."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

from tests.e2e.server import AUDIO, Server
from tests.e2e.talk import BOUND_S, PATH, SAID, SAY, script
from tests.support.listening import SPOKEN, plain

EN, DE = AUDIO / "digits-en.wav", AUDIO / "digits-de.wav"
WORDS = SPOKEN["digits-en.wav"]["text"]
MODEL = "whisper-small"


def client_of(server: Server, strict: bool = False, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=f"{server.url}/v1",
        api_key="any",
        timeout=BOUND_S,
        _strict_response_validation=strict,
        **options,
    )


@pytest.fixture(params=[False, True], ids=["normal", "strict"])
def client(real: Server, request: pytest.FixtureRequest) -> Iterator[openai.OpenAI]:
    with client_of(real, strict=request.param) as client:
        yield client


@pytest.fixture(params=[False, True], ids=["normal", "strict"])
def scripted(fake: Server, request: pytest.FixtureRequest) -> Iterator[openai.OpenAI]:
    """A client of the scripted engine that takes its retries as they come."""
    with client_of(fake, strict=request.param) as client:
        yield client


def acts(*acts: dict[str, Any]) -> tuple[str, io.BytesIO]:
    """A file that tells the fake engine what to do."""
    return "script.wav", io.BytesIO(json.dumps(acts).encode())


def sent(server: Server, status: int) -> int:
    """How many transcription requests were answered so, up to now."""
    return len(server.log.find("http.access", path=PATH, status=status))


# --- answers ---------------------------------------------------------------------------


def test_transcribe_json(client: openai.OpenAI) -> None:
    heard = client.audio.transcriptions.create(model=MODEL, file=EN)
    assert plain(heard.text) == plain(WORDS)


@pytest.mark.parametrize("model", ["whisper-1", "gpt-4o-transcribe", "auto"])
def test_other_names_of_models(client: openai.OpenAI, model: str) -> None:
    heard = client.audio.transcriptions.create(model=model, file=EN, language="en")
    assert plain(heard.text) == plain(WORDS)


def test_transcribe_verbose_json(client: openai.OpenAI) -> None:
    heard = client.audio.transcriptions.create(
        model=MODEL, file=EN, response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    assert plain(heard.text) == plain(WORDS)
    assert heard.language == "en"
    assert heard.duration == pytest.approx(2.76, abs=0.05)
    assert heard.segments is not None
    assert heard.words is not None
    assert "".join(segment.text for segment in heard.segments).split() == heard.text.split()
    assert [word.word for word in heard.words] == heard.text.split()
    assert all(0 <= word.start <= word.end <= heard.duration for word in heard.words)
    told = [segment.model_dump() for segment in heard.segments]
    assert all(each["tokens"] is not None and each["seek"] is not None for each in told)


@pytest.mark.parametrize(
    ("wanted", "looks"),
    [
        ("text", r"three one.*nine\n?"),
        ("srt", r"1\n00:00:0\d,\d{3} --> 00:00:0\d,\d{3}\nthree.*nine\n+"),
        ("vtt", r"WEBVTT\n\n00:00:?0\d.*--> .*\nthree.*nine\n+"),
    ],
)
def test_transcribe_as_text(client: openai.OpenAI, wanted: Any, looks: str) -> None:
    heard: Any = client.audio.transcriptions.create(model=MODEL, file=EN, response_format=wanted)
    assert isinstance(heard, str)
    assert re.fullmatch(looks, heard, re.DOTALL), heard


def test_translate(client: openai.OpenAI) -> None:
    with pytest.deprecated_call():  # the library's word on its own function
        told = client.audio.translations.create(model=MODEL, file=DE)
    assert plain(told.text) == plain(SPOKEN["digits-de.wav"]["translation"])


def test_the_language_is_detected(client: openai.OpenAI) -> None:
    heard = client.audio.transcriptions.create(model=MODEL, file=DE, response_format="verbose_json")
    assert heard.language == "de"
    assert plain(heard.text) == plain(SPOKEN["digits-de.wav"]["text"])


def test_a120_a123_stream(real: Server) -> None:
    """Under strict validation, which lets nothing pass that the normal client would refuse."""
    long = AUDIO / "digits-en-long.wav"
    deltas, ends = [], []
    with client_of(real, strict=True) as client:
        for event in client.audio.transcriptions.create(model=MODEL, file=long, stream=True):
            if event.type == "transcript.text.delta":
                deltas.append(event.delta)
            elif event.type == "transcript.text.done":
                ends.append(event.text)
        whole = client.audio.transcriptions.create(model=MODEL, file=long)
    assert len(deltas) > 3
    assert ends == ["".join(deltas)] == [whole.text]


def test_an_id_with_a_slash(real: Server) -> None:
    with client_of(real) as client:
        heard = client.audio.transcriptions.create(model="org/digits", file=EN)
    assert plain(heard.text) == plain(WORDS)


def test_a126_a_model_that_cannot_stream_warns_first(fake: Server) -> None:
    with client_of(fake) as client:
        events: list[Any] = list(
            client.audio.transcriptions.create(model="fake-whole", file=acts(*SAY), stream=True)
        )
    assert [event.type for event in events] == [
        "warning",
        "transcript.text.delta",
        "transcript.text.done",
    ]
    assert "".join(event.delta for event in events[:-1]) == events[-1].text == SAID


def test_strict_validation_knows_no_warning(fake: Server) -> None:
    """The contract's warning is no event of OpenAI's; who validates strictly must not stream there."""
    with (
        client_of(fake, strict=True) as client,
        client.audio.transcriptions.create(model="fake-whole", file=acts(*SAY), stream=True) as stream,
        pytest.raises(openai.APIResponseValidationError),
    ):
        next(iter(stream))


def test_models(client: openai.OpenAI) -> None:
    models = list(client.models.list())
    listed = {model.id: model for model in models}
    assert len(listed) == len(models)
    assert {"auto", MODEL, "org/digits", "pocketsphinx-en-us"} <= set(listed)
    for name in (MODEL, "org/digits"):
        one = client.models.retrieve(name)
        assert (one.id, one.object, one.owned_by) == (name, "model", listed[name].owned_by)
        assert one.created > 0
    with pytest.raises(openai.NotFoundError) as missing:
        client.models.retrieve("no/such")
    assert missing.value.code == "model_not_found"


# --- failures ---------------------------------------------------------------------------


def test_a_400(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.audio.transcriptions.create(model=MODEL, file=("a.wav", b"this is no audio" * 99))
    error = refused.value
    assert (error.status_code, error.code, error.param) == (400, "unsupported_audio", "file")
    assert error.type == "invalid_request_error"
    assert isinstance(error.body, dict)
    assert (error.body["kind"], error.body["provider"]) == ("malformed", "Faster-Whisper")
    assert "The file could not be read as audio." in error.message
    assert error.request_id
    with pytest.raises(openai.BadRequestError) as unknown:
        client.audio.transcriptions.create(model="no-such", file=EN)
    assert unknown.value.code == "model_not_found"


def test_a_413(scripted: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        scripted.audio.transcriptions.create(model="fake-small", file=acts({"fail": "oom"}))
    error = refused.value
    assert (error.status_code, error.code) == (413, "out_of_memory")
    assert isinstance(error.body, dict)
    assert error.body["kind"] == "overflow"
    assert "Not enough memory" in error.message


def test_a_500_is_sent_once_only(fake: Server, scripted: openai.OpenAI) -> None:
    before = sent(fake, 500)
    with pytest.raises(openai.InternalServerError) as failed:
        scripted.audio.transcriptions.create(model="fake-small", file=acts({"fail": "bug"}))
    error = failed.value
    assert (error.status_code, error.code, error.type) == (500, "internal_error", "server_error")
    assert isinstance(error.body, dict)
    assert error.body["kind"] == "unknown"
    fake.log.wait("http.access", count=before + 1, path=PATH, status=500)
    assert sent(fake, 500) == before + 1


def test_a_failure_in_a_stream(scripted: openai.OpenAI) -> None:
    stream = scripted.audio.transcriptions.create(
        model="fake-small", file=acts({"say": "one"}, {"fail": "oom"}), stream=True
    )
    heard: list[Any] = []
    with pytest.raises(openai.APIError) as failed:
        heard.extend(iter(stream))
    assert "Not enough memory" in failed.value.message
    assert isinstance(failed.value.body, dict)
    assert (failed.value.body["kind"], failed.value.code) == ("overflow", "out_of_memory")


def test_busy_without_retries(fake: Server) -> None:
    holder = fake.begin(script({"gate": "holder"}, *SAY))
    at_gate = fake.gates.entered("holder")
    with client_of(fake, max_retries=0) as client, pytest.raises(openai.InternalServerError) as busy:
        client.audio.transcriptions.create(model="fake-small", file=acts(*SAY))
    fake.gates.let_pass(at_gate)
    assert holder.reply().text == SAID
    holder.close()
    error = busy.value
    assert (error.status_code, error.code) == (503, "slot_busy")
    assert error.response.headers["Retry-After"] == "5"
    assert isinstance(error.body, dict)
    assert error.body["kind"] == "network"
    assert error.body["holder"]["op"] == "transcribe"


def test_a155_busy_is_cured_by_the_librarys_own_retries(fake: Server) -> None:
    holder = fake.begin(script({"gate": "holder"}, *SAY))
    at_gate = fake.gates.entered("holder")
    before = sent(fake, 503)
    with client_of(fake) as client, ThreadPoolExecutor(1) as aside:
        asking = aside.submit(client.audio.transcriptions.create, model="fake-small", file=acts(*SAY))
        fake.log.wait("http.access", count=before + 1, path=PATH, status=503)
        fake.gates.let_pass(at_gate)
        assert asking.result(BOUND_S).text == SAID
    assert sent(fake, 503) == before + 1
    assert holder.reply().text == SAID
    holder.close()


def test_a153_closing_a_stream_frees_the_slot(fake: Server) -> None:
    with client_of(fake) as client:
        stream = client.audio.transcriptions.create(
            model="fake-small", file=acts({"say": "one"}, {"gate": "run"}, *SAY), stream=True
        )
        at_gate = fake.gates.entered("run")
        first: Any = next(iter(stream))
        assert first.delta == "one"
        cancelled = len(fake.log.find("job.done", outcome="cancelled"))
        stream.close()
        fake.log.wait("job.done", count=cancelled + 1, outcome="cancelled")
        at_gate.close()
        assert client.audio.transcriptions.create(model="fake-small", file=acts(*SAY)).text == SAID
