"""The transcription form as clients send it: text read by the type of each field."""

from __future__ import annotations

from typing import Annotated, Any

import attrs
import pytest
from attrs import frozen

from aistack.contract.forms import form
from aistack.contract.limits import Characters
from aistack.contract.public import FilePart, TranscriptionForm
from aistack.errors import BackendFault, Code, ErrorKind, Fault

AUDIO = FilePart("spool/1", "a.wav", 12)


def parsed(**fields: Any) -> TranscriptionForm:
    sent = {name: value if isinstance(value, list) else [value] for name, value in fields.items()}
    return form(TranscriptionForm, {"file": [AUDIO]} | sent)


def refused(call: Any) -> Fault:
    with pytest.raises(BackendFault) as caught:
        call()
    assert caught.value.fault.status == 400
    assert caught.value.fault.kind is ErrorKind.MALFORMED
    return caught.value.fault


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


@pytest.mark.parametrize("word", ["true", "True", "TRUE", "1", "yes", "y", "on", " On "])
def test_true(word: str) -> None:
    assert parsed(stream=word).stream is True


@pytest.mark.parametrize("word", ["false", "False", "0", "no", "N", "OFF"])
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


@frozen
class Counted:
    """A form with a whole number and a limit on a text."""

    count: int = 0
    word: Annotated[str, Characters(1, 3)] = "x"


@pytest.mark.parametrize(("sent", "value"), [("7", 7), (" -1 ", -1), ("1" + "0" * 400, 10**400)])
def test_whole_numbers(sent: str, value: int) -> None:
    assert form(Counted, {"count": [sent]}).count == value


@pytest.mark.parametrize("sent", ["1.5", "many", "inf", "0x1"])
def test_what_is_not_a_whole_number(sent: str) -> None:
    fault = refused(lambda: form(Counted, {"count": [sent]}))
    assert fault.message == f"The field 'count' must be a whole number, not '{sent}'."


def test_every_limit_of_a_field_holds() -> None:
    assert form(Counted, {"word": ["abc"]}).word == "abc"
    fault = refused(lambda: form(Counted, {"word": ["abcd"]}))
    assert (fault.param, fault.message) == (
        "word",
        "The field 'word' must have from 1 to 3 characters.",
    )
