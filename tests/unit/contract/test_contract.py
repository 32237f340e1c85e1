"""Contract types through the strict converters: what is refused, and what is left out."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

import attrs
import pytest
from attrs import frozen

from aistack import errors
from aistack.contract import public as contract
from aistack.contract.converters import structure, to_json
from aistack.contract.fields import annotated_fields
from aistack.contract.limits import Characters, Items, OneOf, Pattern, Range, TotalCharacters
from aistack.contract.public import (
    ErrorEnvelope,
    HealthResponse,
    ModelEntry,
    ModelsList,
    StreamEvent,
    TranscriptionUsage,
    TranscriptionWord,
)
from aistack.errors import BackendFault, Code, ErrorKind, Fault

ENTRY = {
    "id": "whisper-small",
    "object": "model",
    "created": 1,
    "owned_by": "openai",
    "capabilities": ["asr"],
    "supports_streaming": True,
    "is_routing_alias": False,
}


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
        Fault(Code.CANCELLED, "gone"),
    ],
)
def test_every_envelope_is_the_contracts(fault: Fault) -> None:
    body = structure(json.loads(errors.envelope(fault)), ErrorEnvelope).error
    assert (body.kind, body.code, body.param) == (fault.kind.word, fault.code.value, fault.param)
    assert (body.holder is not None) == bool(fault.extra)
    assert json.loads(to_json(ErrorEnvelope(error=body))) == json.loads(errors.envelope(fault))


def test_an_envelope_holds_what_utf_8_cannot() -> None:
    """A client's text may be quoted in it, and JSON can spell lone surrogates."""
    body = json.loads(errors.envelope(errors.malformed("not '\ud800'", param="\udcff")))
    assert (body["error"]["message"], body["error"]["param"]) == ("not '?'", "?")


def test_the_codes_are_the_closed_list() -> None:
    (code,) = (each for each in annotated_fields(contract.ErrorBody) if each.name == "code")
    assert code.limits == (OneOf(tuple(each.value for each in Code)),)
    assert {kind.word for kind in ErrorKind} == set(get_args(contract.KindWord))


# --- in: JSON ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"created": "1"}, "created"),
        ({"created": 1.5}, "created"),
        ({"created": math.inf}, "created"),
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
        ({"max_seconds": True}, "max_seconds"),
        ({"max_seconds": 10**400}, "max_seconds"),
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


def test_the_first_wrong_item_ends_the_reading_of_a_list() -> None:
    """A body of 64 MiB can hold millions: their errors would fill the memory."""
    seen = []

    class Watched(list[Any]):
        def __iter__(self) -> Iterator[Any]:
            for item in super().__iter__():
                seen.append(item)
                yield item

    fault = refused(lambda: structure({"data": Watched([ENTRY, {}, {}, {}])}, ModelsList))
    assert fault.param == "data.1.id"
    assert len(seen) == 2


def test_whole_numbers_are_numbers() -> None:
    assert structure(ENTRY | {"max_seconds": 3}, ModelEntry).max_seconds == 3.0


def test_a_whole_number_may_be_written_with_a_point_as_json_schema_says() -> None:
    created = structure(ENTRY | {"created": 2.0}, ModelEntry).created
    assert (created, type(created)) == (2, int)


def test_a_tolerant_reader_ignores_what_it_does_not_know() -> None:
    assert structure(ENTRY | {"surprise": 1}, ModelEntry, tolerant=True) == structure(ENTRY, ModelEntry)
    assert refused(lambda: structure(ENTRY | {"id": 3}, ModelEntry, tolerant=True)).param == "id"


# --- in: limits --------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Line:
    """A type with limits of each kind."""

    word: Annotated[str, Characters(1, 3)]
    kind: Literal["a", "b"] = "a"


@frozen(kw_only=True)
class Page:
    """A type that holds others."""

    lines: Annotated[tuple[Line, ...], Items(1, 3), TotalCharacters("word", 5)]
    number: Annotated[int | None, Range(1, 9)] = None
    price: Annotated[float, Range(0)] = 0.0
    tag: Annotated[str, Pattern("^[a-z]+$", "a lower-case word")] = "x"
    tags: tuple[Literal["x", "y"], ...] = ()


def page(*words: str, **members: Any) -> dict[str, Any]:
    return {"lines": [{"word": word} for word in words], **members}


LIMITS = [
    (page(), "lines", "have from 1 to 3 items"),
    (page("a", ""), "lines.1.word", "have from 1 to 3 characters"),
    (page("a", "éééé"), "lines.1.word", "have from 1 to 3 characters"),
    (page("aaa", "aaa"), "lines", "have at most 5 characters in total"),
    (page("a", number=0), "number", "be from 1 to 9"),
    (page("a", price=-1), "price", "be at least 0"),
    (page("a", tag="A"), "tag", "be a lower-case word"),
    (page("a", tags=["x", "z"]), "tags.1", "be one of x, y"),
    ({"lines": [{"word": "a", "kind": "c"}]}, "lines.0.kind", "be one of a, b"),
]


@pytest.mark.parametrize(("plain", "param", "must"), LIMITS)
def test_a_broken_limit_says_itself(plain: dict[str, Any], param: str, must: str) -> None:
    fault = refused(lambda: structure(plain, Page))
    assert (fault.code, fault.param) == (Code.INVALID_FIELD, param)
    assert fault.message == f"The field '{param}' must {must}."


def test_both_ends_are_allowed() -> None:
    found = structure(page("aaa", "aa", number=9, tags=["y", "x"]), Page)
    assert (found.number, found.tags) == (9, ("y", "x"))
    assert structure(page("a", number=None), Page).number is None


def test_types_come_first_then_limits_and_closed_lists_last_in_their_object() -> None:
    wrong = {
        "lines": [{"word": "", "kind": "c"}, {"word": "ok", "kind": "c"}],
        "number": 0,
        "price": "x",
    }
    for param in ("price", "lines.0.word", "lines.0.kind", "lines.1.kind", "number"):
        assert refused(lambda: structure(wrong, Page)).param == param
        holder: Any = wrong
        *path, last = param.split(".")
        for step in path:
            holder = holder[int(step)] if step.isdigit() else holder[step]
        holder[last] = {"price": 1, "word": "ok", "kind": "a", "number": 1}[last]
    assert structure(wrong, Page)


def test_events_are_told_apart_by_type() -> None:
    done = {"type": "transcript.text.done", "text": "", "language": "en", "duration": 1}
    assert isinstance(structure(done, StreamEvent), contract.DoneEvent)
    assert refused(lambda: structure(done | {"type": "nonsense"}, StreamEvent))
    assert refused(lambda: structure({"text": ""}, StreamEvent))


@pytest.mark.parametrize("value", ["text", 3, None, [], True])
def test_something_else_than_an_object_is_refused(value: Any) -> None:
    refused(lambda: structure(value, ModelEntry))
