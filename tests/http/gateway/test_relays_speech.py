"""A159 to A174 over HTTP: everything below /v1/audio/ that is not ours."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.doubles.upstreams import JSON, SAY, SPEECH, TTS_ID, VOICES, Hold, Upstreams, begin_speech
from tests.doubles.upstreams import speech as speech_body
from tests.doubles.vllm_omni import HF_NAME, tone, wav_header
from tests.http.gateway.client import FORM, PATH, TRANSLATIONS, Answer, acts
from tests.http.gateway.service import Service

BATCH = f"{SPEECH}/batch"
SAMPLES = b"".join(tone("one two"))
MiB = 1024 * 1024


def spoken(relays: Service, body: bytes | None = None, **members: object) -> Answer:
    return begin_speech(relays.client, body, **members).answer()


# --- bytes --------------------------------------------------------------------------------------------


def test_a159_the_bytes_are_the_same_in_both_directions(relays: Service, upstreams: Upstreams) -> None:
    body = b' {"input" : "one two",\n"voice":"vivian", "unheard_of": [1e3, "\\u00e9 \xc3\xa9"]} '
    answer = spoken(relays, body)
    assert upstreams.omni.called(SPEECH)[0].body == body
    assert answer.status == 200
    assert answer.body == wav_header(len(SAMPLES)) + SAMPLES
    assert answer.headers["content-length"] == str(len(answer.body))
    assert answer.headers["x-vllm-omni-output-tokens"] == "42"


def test_a160_extension_fields_reach_the_container(relays: Service, upstreams: Upstreams) -> None:
    """And `task_type` in the container's spelling (wire row 37)."""
    upstreams.omni.checkpoint = "Base"
    given: dict[str, Any] = {
        "ref_audio": "data:audio/wav;base64,UklGRg==",
        "ref_text": "hi",
        "x_vector_only_mode": True,
    }
    assert spoken(relays, task_type="voice_clone", **given).status == 200
    (call,) = upstreams.omni.called(SPEECH)
    assert call.json == {"input": "one two", "voice": "vivian", "task_type": "Base", **given}


def test_a161_only_content_type_and_accept_go_up(relays: Service, upstreams: Upstreams) -> None:
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Accept": "audio/wav",
        "Authorization": "Bearer secret",
        "Cookie": "a=b",
        "X-Other": "1",
    }
    assert relays.client.ask("POST", SPEECH, speech_body(), headers).status == 200
    (call,) = upstreams.omni.called(SPEECH)
    names = {name.lower() for name in call.headers}
    assert names <= {"host", "content-length", "content-type", "accept", "accept-encoding"}
    assert call.headers["Content-Type"] == "application/json; charset=utf-8"
    assert call.headers["Accept"] == "audio/wav"
    assert call.headers["Host"] == f"127.0.0.1:{upstreams.omni.port}"


@pytest.mark.parametrize(("kind", "media"), [("mp3", "audio/mpeg"), ("pcm", "audio/pcm")])
def test_a162_the_type_is_the_containers(kind: str, media: str, relays: Service) -> None:
    answer = spoken(relays, response_format=kind)
    assert (answer.status, answer.headers["content-type"]) == (200, media)


@pytest.mark.parametrize("tail", ["?a=%2F%20b&a=&c", "/batch?x=%C3%A9"])
def test_a163_the_query_goes_up_as_it_came(tail: str, relays: Service, upstreams: Upstreams) -> None:
    assert relays.client.ask("POST", SPEECH + tail, b'{"input": "x", "items": []}', JSON).status == 200
    assert upstreams.omni.calls[-1].path == SPEECH + tail


def test_a164_voices_and_batch(relays: Service, upstreams: Upstreams) -> None:
    form = (
        b'--xBOUNDx\r\nContent-Disposition: form-data; name="name"\r\n\r\nmine\r\n'
        b'--xBOUNDx\r\nContent-Disposition: form-data; name="audio_sample"; filename="a.wav"\r\n'
        b"Content-Type: audio/wav\r\n\r\nRIFF\x00\xff\r\n--xBOUNDx--\r\n"
    )
    uploaded = relays.client.ask("POST", VOICES, form, {"Content-Type": FORM})
    assert uploaded.json["voice"] == {"name": "mine", "file_size": 6, "mime_type": "audio/wav"}
    assert "mine" in relays.client.get(VOICES).json["voices"]
    assert spoken(relays, voice="mine").status == 200
    assert relays.client.ask("DELETE", f"{VOICES}/mine").json["success"] is True
    gone = relays.client.ask("DELETE", f"{VOICES}/mine")
    assert (gone.status, gone.error["upstream"]["status"]) == (400, 404)
    since = relays.mark
    body = json.dumps({"items": [{"input": "one"}, {"input": "two", "voice": "nobody"}]}).encode()
    batch = relays.client.ask("POST", BATCH, body, JSON)
    assert (batch.status, batch.json["succeeded"], batch.json["failed"]) == (200, 1, 1)
    assert relays.path_of(since)[-1] == "done", "a batch takes the slot"


def test_a165_audio_comes_before_it_is_all_there(relays: Service, upstreams: Upstreams) -> None:
    upstreams.shut(upstreams.omni)
    call = begin_speech(relays.client, response_format="pcm", stream_format="audio")
    first = tone("one two")[0]
    assert call.response.read(len(first)) == first
    assert upstreams.omni.called(SPEECH)[0].ended == "", "the second word is not spoken yet"
    upstreams.open(upstreams.omni)
    assert first + call.answer().body == SAMPLES


def test_a171_the_advertised_id_works(relays: Service, upstreams: Upstreams) -> None:
    assert spoken(relays, model=TTS_ID).status == 200
    assert upstreams.omni.called(SPEECH)[0].json["model"] == HF_NAME, "its served name"


@pytest.mark.parametrize("body", [b"plain text", b"\x00\xff{", b"[1]", b""])
def test_a172_what_is_not_json_goes_up_too(body: bytes, relays: Service, upstreams: Upstreams) -> None:
    answer = relays.client.ask("POST", SPEECH, body, {"Content-Type": "text/plain"})
    assert upstreams.omni.called(SPEECH)[0].body == body
    assert (answer.status, answer.error["code"]) == (400, "upstream_rejected")


def test_a174_encoded_bytes_stay_as_they_are(relays: Service, upstreams: Upstreams) -> None:
    """Not really gzip: who would unpack them on the way would fail."""
    upstreams.omni.encoding = "gzip"
    answer = spoken(relays)
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.body == wav_header(len(SAMPLES)) + SAMPLES


# --- ours among theirs --------------------------------------------------------------------------------


def test_a173_transcriptions_are_ours(relays: Service, upstreams: Upstreams) -> None:
    assert relays.client.transcribe(acts(SAY)).json == {"text": "one two"}
    assert relays.client.transcribe(acts(SAY), path=TRANSLATIONS).status == 200
    for path in (PATH, TRANSLATIONS):
        for method in ("GET", "DELETE", "PUT", "PATCH"):
            answer = relays.client.ask(method, path)
            assert (answer.status, answer.error["code"]) == (405, "method_not_allowed")
            assert answer.error["kind"] == "malformed"
            assert "POST" in answer.headers["allow"]
        assert relays.client.ask("HEAD", path).status == 405
        assert relays.client.transcribe(acts(SAY), path=f"{path}/").status == 404
    assert [call for call in upstreams.omni.calls if call.path != "/is_sleeping"] == []


@pytest.mark.parametrize(
    "path",
    ["/v1/audio/a%2F..%2F..%2Fhealth", "/v1/audio/..%5Chealth", "/v1/audio/../health/x", "/v1/audio/"],
)
def test_nothing_outside_can_be_reached(path: str, relays: Service, upstreams: Upstreams) -> None:
    assert relays.client.get(path).status == 404
    assert upstreams.omni.calls == []


# --- failures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theirs", "ours", "kind", "code", "retry"),
    [
        (400, 400, "malformed", "upstream_rejected", None),
        (404, 400, "malformed", "upstream_rejected", None),
        (413, 413, "overflow", "too_large", None),
        (429, 503, "network", "upstream_busy", "5"),
        (503, 503, "network", "upstream_busy", "5"),
        (500, 500, "unknown", "upstream_error", None),
        (504, 500, "unknown", "upstream_error", None),
    ],
)
@pytest.mark.parametrize("path", [SPEECH, VOICES])
def test_a166_an_error_of_the_containers(
    path: str,
    theirs: int,
    ours: int,
    kind: str,
    code: str,
    retry: str | None,
    relays: Service,
    upstreams: Upstreams,
) -> None:
    body = json.dumps({"error": {"message": "no luck", "type": "T", "param": None, "code": theirs}})
    upstreams.omni.fail(path, "status", status=theirs, body=body)
    answer = spoken(relays) if path == SPEECH else relays.client.get(path)
    error = answer.error
    assert (answer.status, error["kind"], error["code"]) == (ours, kind, code)
    assert (error["message"], error["provider"]) == ("no luck", "Qwen3-TTS")
    assert error["upstream"] == {"status": theirs, "type": "T", "code": theirs}
    assert answer.headers.get("retry-after") == retry


def test_a167_the_container_is_down(relays: Service, upstreams: Upstreams) -> None:
    with upstreams.down(upstreams.omni):
        answers = [spoken(relays), relays.client.get(VOICES), relays.client.ask("HEAD", VOICES)]
    assert [answer.status for answer in answers] == [503] * 3
    for answer in answers[:2]:
        assert (answer.error["kind"], answer.error["code"]) == ("network", "backend_unreachable")
        assert "docker compose up" in answer.error["message"]
        assert "retry-after" not in answer.headers
    assert answers[2].body == b""


def test_a168_an_answer_that_is_not_http(relays: Service, upstreams: Upstreams) -> None:
    for path in (SPEECH, VOICES):
        upstreams.omni.fail(path, "garbage")
    for answer in (spoken(relays), relays.client.get(VOICES)):
        assert (answer.status, answer.error["kind"]) == (500, "unknown")
        assert answer.error["code"] == "upstream_error"


@pytest.mark.parametrize("path", [SPEECH, VOICES])
def test_a_broken_answer_is_never_a_clean_end(path: str, relays: Service, upstreams: Upstreams) -> None:
    upstreams.omni.fail(path, "cut")
    answer = spoken(relays) if path == SPEECH else relays.client.get(path)
    assert answer.status == 200
    assert not answer.complete


# --- leaving, and what is left ------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["close", "reset", "half_close"])
@pytest.mark.parametrize("begun", [True, False])
def test_a170_leaving_closes_the_containers_call_and_frees_the_slot(
    begun: bool, way: str, relays: Service, upstreams: Upstreams
) -> None:
    since = relays.mark
    upstreams.shut(upstreams.omni)
    members: dict[str, Any] = {"response_format": "pcm", "stream_format": "audio"} if begun else {}
    call = begin_speech(relays.client, **members)
    if begun:
        assert call.response.read(100)
    upstreams.called(upstreams.omni, SPEECH)
    getattr(call, way)()
    assert upstreams.ended(upstreams.omni, SPEECH) == "cut"
    assert relays.ended(since) == "cancelled"
    upstreams.open(upstreams.omni)
    assert spoken(relays).status == 200
    call.close()


def large() -> bytes:
    """More than is kept in memory."""
    return speech_body(padding="é" * 3 * MiB)


def test_a_large_body_goes_by_a_file_that_is_gone_afterwards(
    relays: Service, upstreams: Upstreams
) -> None:
    body = large()
    upstreams.shut(upstreams.omni)
    call = begin_speech(relays.client, body)
    assert upstreams.called(upstreams.omni, SPEECH).body == body
    assert len(relays.spooled) == 1
    upstreams.open(upstreams.omni)
    answer = call.answer()
    assert (answer.status, answer.body) == (200, wav_header(len(SAMPLES)) + SAMPLES)
    relays.quiet()
    assert relays.spooled == []


def test_a_small_body_goes_by_no_file(relays: Service, upstreams: Upstreams) -> None:
    upstreams.shut(upstreams.omni)
    call = begin_speech(relays.client, speech_body(padding="x" * 3 * MiB))
    upstreams.called(upstreams.omni, SPEECH)
    assert relays.spooled == []
    upstreams.open(upstreams.omni)
    assert call.answer().status == 200


def test_the_file_of_who_leaves_or_is_refused_is_gone(
    relays: Service, upstreams: Upstreams, hold: Hold
) -> None:
    since = relays.mark
    upstreams.shut(upstreams.omni)
    call = begin_speech(relays.client, large())
    upstreams.called(upstreams.omni, SPEECH)
    call.close()
    assert relays.ended(since) == "cancelled"
    relays.quiet()
    assert relays.spooled == []
    busy = hold("transcription")
    assert spoken(relays, large()).status == 503
    assert relays.spooled == [relays.spooled[0]], "only the transcription's"
    assert busy.end().status == 200


def test_a_large_upload_that_takes_no_slot_leaves_no_file(relays: Service, upstreams: Upstreams) -> None:
    sample = b"RIFF" + bytes(5 * MiB)
    form = (
        b'--xBOUNDx\r\nContent-Disposition: form-data; name="name"\r\n\r\nmine\r\n'
        b'--xBOUNDx\r\nContent-Disposition: form-data; name="audio_sample"\r\n\r\n'
        + sample
        + b"\r\n--xBOUNDx--\r\n"
    )
    call = relays.client.begin("POST", VOICES, form, {"Content-Type": FORM})
    assert json.loads(call.response.read())["voice"]["file_size"] == len(sample)
    call.connection.request("GET", "/health")
    assert call.connection.getresponse().read(), "the next on its connection, so the first is over"
    call.close()
    assert relays.spooled == []


def test_a28_the_callers_id_wins_over_the_containers(relays: Service, upstreams: Upstreams) -> None:
    theirs = {"X-Request-ID": "theirs"}
    for path in (SPEECH, VOICES):
        upstreams.omni.fail(path, "status", status=200, body="{}", headers=theirs)
    mine = {"X-Request-ID": "mine.3", **JSON}
    for answer in (
        relays.client.ask("POST", SPEECH, speech_body(), mine),
        relays.client.get(VOICES, mine),
    ):
        ids = [value for name, value in answer.all_headers if name.lower() == "x-request-id"]
        assert (answer.status, ids) == (200, ["mine.3"])


def test_a166_an_unknown_voice_is_no_unknown_model(relays: Service, upstreams: Upstreams) -> None:
    answer = relays.client.ask("DELETE", f"{VOICES}/super-model")
    assert (answer.status, answer.error["code"]) == (400, "upstream_rejected")
    assert answer.error["message"] == "Voice 'super-model' not found"
    assert (answer.error["upstream"]["status"], answer.error["param"]) == (404, None)
