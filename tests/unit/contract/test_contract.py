"""Contract types through the strict converters: what is refused, what is left out, forms as sent."""

from __future__ import annotations

import json
import math
from typing import Any, get_args

import attrs
import pytest

from aistack import errors
from aistack.contract import public as contract
from aistack.contract.converters import form, structure, to_json
from aistack.contract.public import (
    ErrorEnvelope,
    FilePart,
    HealthResponse,
    ModelEntry,
    ModelsList,
    StreamEvent,
    TranscriptionForm,
    TranscriptionUsage,
    TranscriptionWord,
)
from aistack.errors import BackendFault, Code, ErrorKind, Fault

AUDIO = FilePart("spool/1", "a.wav", 12)
ENTRY = {
    "id": "whisper-small",
    "object": "model",
    "created": 1,
    "owned_by": "openai",
    "capabilities": ["asr"],
    "supports_streaming": True,
    "is_routing_alias": False,
}


def parsed(**fields: Any) -> TranscriptionForm:
    sent = {name: value if isinstance(value, list) else [value] for name, value in fields.items()}
    return form(TranscriptionForm, {"file": [AUDIO]} | sent)


def refused(call: Any) -> Fault:
    with pytest.raises(BackendFault) as caught:
        call()
    assert caught.value.fault.status == 400
    assert caught.value.fault.kind is ErrorKind.MALFORMED
    return caught.value.fault


# --- the types ---------------------------------------------------------------------------------------

TYPES = [
    value
    for value in vars(contract).values()
    if isinstance(value, type) and attrs.has(value) and value.__module__ == contract.__name__
]


@pytest.mark.parametrize("cls", TYPES, ids=lambda cls: cls.__name__)
def test_every_type_and_field_has_its_sentence(cls: type) -> None:
    assert cls.__doc__ and not cls.__doc__.startswith("Method generated")
    if cls is not FilePart:
        for each in attrs.fields(cls):
            assert each.metadata["says"].endswith("."), each.name


@pytest.mark.parametrize("cls", TYPES, ids=lambda cls: cls.__name__)
def test_types_are_values(cls: type) -> None:
    assert getattr(cls, "__attrs_props__").is_frozen  # noqa: B009 - attrs' own, unknown to the checker


# --- out ---------------------------------------------------------------------------------------------


def test_a33_absent_not_null_but_constants_stay() -> None:
    entry = ModelEntry(
        id="qwen3:4b", created=1, owned_by="ollama", capabilities=("llm",), supports_streaming=True
    )
    assert json.loads(to_json(entry)) == ENTRY | {
        "id": "qwen3:4b",
        "owned_by": "ollama",
        "capabilities": ["llm"],
    }
    assert json.loads(to_json(ModelsList(data=(entry,))))["object"] == "list"


def test_false_and_zero_are_values() -> None:
    entry = attrs.evolve(structure(ENTRY, ModelEntry), loaded=False, max_seconds=0.0, translate=False)
    plain = json.loads(to_json(entry))
    assert (plain["loaded"], plain["max_seconds"], plain["translate"]) == (False, 0.0, False)
    assert "word_timestamps" not in plain


def test_a4_health_says_null_until_weights_were_loaded() -> None:
    health = HealthResponse(version="0.0.1", ready=False)
    assert json.loads(to_json(health)) == {
        "status": "ok",
        "version": "0.0.1",
        "ready": False,
        "current_model": None,
    }


def test_json_is_one_compact_line_of_utf8() -> None:
    word = TranscriptionWord(start=0.0, end=math.nan, word="é\u2028\n\x85")
    assert to_json(word) == b'{"start":0.0,"end":0.0,"word":"\xc3\xa9\\u2028\\n\\u0085"}'


@pytest.mark.parametrize(
    "fault",
    [
        errors.malformed("no", Code.MISSING_FIELD, "file"),
        errors.internal(),
        errors.busy("busy", op="chat", model="qwen3:4b", since_s=3.2, progress=0.5, eta_s=3.2),
        errors.out_of_memory("Faster-Whisper", "load it"),
        Fault(ErrorKind.CANCELLED, Code.CANCELLED, "gone"),
    ],
)
def test_every_envelope_is_the_contracts(fault: Fault) -> None:
    body = structure(json.loads(errors.envelope(fault)), ErrorEnvelope).error
    assert (body.kind, body.code, body.param) == (fault.kind.word, fault.code.value, fault.param)
    assert (body.holder is not None) == bool(fault.extra)
    assert json.loads(to_json(ErrorEnvelope(error=body))) == json.loads(errors.envelope(fault))


def test_the_codes_are_the_closed_list() -> None:
    one_of = attrs.fields(contract.ErrorBody).code.metadata["one_of"]
    assert set(one_of) == {code.value for code in Code}
    assert {kind.word for kind in ErrorKind} == set(get_args(contract.Kind))


# --- in: JSON ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"created": "1"}, "created"),
        ({"created": 1.0}, "created"),
        ({"created": True}, "created"),
        ({"created": None}, "created"),
        ({"id": 3}, "id"),
        ({"id": None}, "id"),
        ({"supports_streaming": "false"}, "supports_streaming"),
        ({"supports_streaming": 0}, "supports_streaming"),
        ({"capabilities": "asr"}, "capabilities"),
        ({"capabilities": ["asr", "video"]}, "capabilities.1"),
        ({"capabilities": [1]}, "capabilities.0"),
        ({"max_seconds": math.nan}, "max_seconds"),
        ({"max_seconds": "3"}, "max_seconds"),
        ({"languages": {"en": 1}}, "languages"),
        ({"object": "engine"}, "object"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_json_is_read_exactly(change: dict[str, Any], param: str) -> None:
    fault = refused(lambda: structure(ENTRY | change, ModelEntry))
    assert (fault.code, fault.param) == (Code.INVALID_FIELD, param)
    assert fault.message.endswith(".")


def test_a_missing_member_is_named() -> None:
    fault = refused(lambda: structure({"type": "duration"}, TranscriptionUsage))
    assert (fault.code, fault.param) == (Code.MISSING_FIELD, "seconds")


def test_a_path_leads_to_the_wrong_member() -> None:
    fault = refused(lambda: structure({"data": [ENTRY, ENTRY | {"id": 1}]}, ModelsList))
    assert fault.param == "data.1.id"


def test_whole_numbers_are_numbers() -> None:
    assert structure(ENTRY | {"max_seconds": 3}, ModelEntry).max_seconds == 3.0


def test_events_are_told_apart_by_type() -> None:
    done = {"type": "transcript.text.done", "text": "", "language": "en", "duration": 1}
    assert isinstance(structure(done, StreamEvent), contract.DoneEvent)
    assert refused(lambda: structure(done | {"type": "nonsense"}, StreamEvent))
    assert refused(lambda: structure({"text": ""}, StreamEvent))


@pytest.mark.parametrize("value", ["text", 3, None, [], True])
def test_something_else_than_an_object_is_refused(value: Any) -> None:
    refused(lambda: structure(value, ModelEntry))


# --- in: forms ---------------------------------------------------------------------------------------


def test_defaults() -> None:
    assert parsed() == TranscriptionForm(
        file=AUDIO,
        model="auto",
        language=None,
        response_format="json",
        stream=False,
        translate=False,
        timestamp_granularities=None,
        segment_granularity="sentence",
    )


@pytest.mark.parametrize("word", ["true", "True", "TRUE", "1", "yes", "on", " On "])
def test_true(word: str) -> None:
    assert parsed(stream=word).stream is True


@pytest.mark.parametrize("word", ["false", "False", "0", "no", "OFF"])
def test_a99_false_is_false(word: str) -> None:
    assert parsed(translate=word, stream=word) == parsed()


@pytest.mark.parametrize("word", ["maybe", "2", "null", "truefalse", " ", "tru" * 100])
@pytest.mark.parametrize("name", ["stream", "translate"])
def test_a100_what_is_no_boolean_is_refused(name: str, word: str) -> None:
    fault = refused(lambda: parsed(**{name: word}))
    assert (fault.code, fault.param) == (Code.INVALID_FIELD, name)
    assert len(fault.message) < 200


def test_a66_missing_file() -> None:
    fault = refused(lambda: form(TranscriptionForm, {"model": ["auto"]}))
    assert (fault.code, fault.param) == (Code.MISSING_FIELD, "file")


def test_a67_file_as_text() -> None:
    fault = refused(lambda: form(TranscriptionForm, {"file": ["not audio"]}))
    assert (fault.code, fault.param) == (Code.INVALID_FIELD, "file")


def test_several_files() -> None:
    assert refused(lambda: parsed(file=[AUDIO, AUDIO])).param == "file"


def test_text_as_file() -> None:
    assert refused(lambda: parsed(model=[AUDIO])).param == "model"


def test_empty_is_absent_and_unknown_is_ignored_a101() -> None:
    empty = {name: "" for name in attrs.fields_dict(TranscriptionForm) if name != "file"}
    assert parsed(**empty) == parsed()
    assert (
        parsed(**{"include[]": "logprobs", "chunking_strategy[type]": "server_vad", "x": "1"})
        == parsed()
    )


def test_the_last_of_a_scalar_counts() -> None:
    assert parsed(model=["a", "", "b"]).model == "b"


@pytest.mark.parametrize("value", ["xml", "JSON", "diarized_json", "verbose-json"])
def test_a65_formats(value: str) -> None:
    assert refused(lambda: parsed(response_format=value)).param == "response_format"
    for known in ("json", "text", "verbose_json", "srt", "vtt"):
        assert parsed(response_format=known).response_format == known


def test_a131_the_format_is_ignored_with_stream_even_an_invalid_one() -> None:
    assert parsed(response_format="xml", stream="true") == parsed(stream="true")
    assert refused(lambda: parsed(response_format="xml", stream="false"))


@pytest.mark.parametrize(
    "sent",
    [
        {"timestamp_granularities[]": ["word", "segment"]},
        {"timestamp_granularities": ["word", "segment"]},
        {"timestamp_granularities[]": ["word,segment"]},
        {"timestamp_granularities": ['["word", "segment"]']},
        {"timestamp_granularities": ["word", ""], "timestamp_granularities[]": [" segment "]},
    ],
)
def test_lists_in_all_the_ways_clients_send_them(sent: dict[str, Any]) -> None:
    assert parsed(**sent).timestamp_granularities == ("word", "segment")


@pytest.mark.parametrize("sent", ["", ",", "[]", " "])
def test_empty_lists_are_absent(sent: str) -> None:
    assert parsed(**{"timestamp_granularities[]": sent}).timestamp_granularities is None


@pytest.mark.parametrize("sent", ["char", "word,char", "[1]", '["word"', "[" * 100_000])
def test_wrong_lists_are_refused(sent: str) -> None:
    fault = refused(lambda: parsed(timestamp_granularities=sent))
    assert fault.param == "timestamp_granularities"


@pytest.mark.parametrize(("sent", "value"), [("0", 0.0), ("0.5", 0.5), (" 1 ", 1.0), ("1e-1", 0.1)])
def test_numbers(sent: str, value: float) -> None:
    assert parsed(temperature=sent).temperature == value


@pytest.mark.parametrize("sent", ["hot", "nan", "inf", "-0.1", "1.1", "0,5"])
def test_wrong_numbers_are_refused(sent: str) -> None:
    assert refused(lambda: parsed(temperature=sent)).param == "temperature"


def test_a102_segment_granularity() -> None:
    assert parsed(segment_granularity="subtitle").segment_granularity == "subtitle"
    assert refused(lambda: parsed(segment_granularity="word")).param == "segment_granularity"


def test_task_type_is_accepted() -> None:
    assert parsed(task_type="anything").task_type == "anything"
