"""The reference: valid, complete, true to the service, and the committed file is the current one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen
from hypothesis import example as with_example
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from aistack.cli.main import main
from aistack.engines.nanochat.weights import tag_fault
from aistack.errors import Code, Retry, fault_headers
from aistack.web.gateway.health import health
from aistack.web.openapi import examples as openapi_examples
from aistack.web.openapi import refusals
from aistack.web.openapi.document import build, operation_id
from aistack.web.openapi.operation import Events, Operation
from aistack.web.openapi.schema import Schemas, Side
from aistack.web.operations import EVERY
from tests.doubles.web import get, serving
from tests.http.gateway.service import running
from tests.support.checked import Reference, reference

COMMITTED = Path(__file__).parents[4] / "docs" / "openapi.json"
Doc = dict[str, Any]


@pytest.fixture(scope="module")
def document() -> Doc:
    made: Doc = json.loads(json.dumps(build(EVERY)))
    return made


def answers(document: Doc) -> Iterator[tuple[str, str, Doc]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for status, answer in operation["responses"].items():
                yield f"{method.upper()} {path}", status, answer


# --- the document itself -------------------------------------------------------------------------------


def test_it_is_valid_openapi_3_1(document: Doc) -> None:
    assert document["openapi"] == "3.1.0"
    assert [each.message for each in OpenAPIV31SpecValidator(document).iter_errors()] == []
    for name, schema in document["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        assert schema, name


def test_the_committed_file_is_current_no_drift(document: Doc) -> None:
    """If this fails: python -m aistack openapi > docs/openapi.json"""
    assert json.loads(COMMITTED.read_text(encoding="utf-8")) == json.loads(json.dumps(document))


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["openapi"]) == 0
    assert capsys.readouterr().out == COMMITTED.read_text(encoding="utf-8")


def test_every_reference_leads_somewhere_and_nothing_is_left_over(document: Doc) -> None:
    text = json.dumps(document)
    for part, named in document["components"].items():
        for name in named:
            used = f'"#/components/{part}/{name}"' in text
            assert used or part == "securitySchemes", f"{part}/{name}"
    for step in {each.split('"')[0] for each in text.split('"$ref": "#/')[1:]}:
        found = document
        for key in step.split("/"):
            found = found[key]


def test_every_operation_says_what_it_gives() -> None:
    for operation in EVERY:
        if operation.shown:
            assert operation.gives or operation.status == 101, operation.path
            assert operation.summary


def test_names_for_generated_clients_are_unique() -> None:
    names = [operation_id(operation) for operation in EVERY if operation.shown]
    assert len(set(names)) == len(names)
    assert {"getV1Models", "postV1AudioTranscriptions", "getV1ModelsById"} <= set(names)


def test_every_answer_has_an_id_and_every_failure_the_envelope(document: Doc) -> None:
    for where, status, answer in answers(document):
        assert "X-Request-ID" in answer["headers"], where
        if int(status) >= 400:
            (content,) = answer["content"].values()
            assert content["schema"] == {"$ref": "#/components/schemas/ErrorEnvelope"}
            assert answer["x-error-codes"], f"{where} {status}"


def test_the_codes_are_the_closed_list(document: Doc) -> None:
    code = document["components"]["schemas"]["ErrorBody"]["properties"]["code"]
    assert code["enum"] == [each.value for each in Code]
    told = {word for _, _, answer in answers(document) for word in answer.get("x-error-codes", ())}
    # A wrong method is no operation's, and who left is told nothing.
    assert told == {each.value for each in Code} - {"method_not_allowed", "cancelled"}


def test_examples_are_what_their_schemas_say(document: Doc) -> None:
    checked = Reference(document)
    seen = 0
    for where, _, answer in answers(document):
        for media, content in answer.get("content", {}).items():
            for name, example in content.get("examples", {}).items():
                if "$ref" in example:
                    found = document["components"]["examples"][example["$ref"].rpartition("/")[2]]
                    assert found["value"]["error"]["code"] in answer["x-error-codes"]
                    checked._valid(where, found["value"], content["schema"])
                elif media == "text/event-stream":
                    blocks = example["value"].split("\n\n")[:-1]
                    for block in blocks:
                        checked.event(where, block.removeprefix("data: "), content["schema"])
                else:
                    checked._valid(f"{where} {name}", example["value"], content["schema"])
                seen += 1
    for path, methods in document["paths"].items():
        for operation in methods.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                for example in content.get("examples", {}).values():
                    checked._valid(path, example["value"], content["schema"])
                    seen += 1
    assert seen > 100


def test_the_examples_of_refusals_are_refusals_that_can_be() -> None:
    every = refusals.ANY | refusals.KEY | frozenset().union(*(each.refuses for each in EVERY))
    for status, code in every:
        fault = openapi_examples.example_fault(status, code)
        assert (fault.status, fault.code) == (status, code)
        if fault.retry is Retry.LATER:
            assert "Retry-After" in dict(fault_headers(fault))


def test_a_code_comes_with_the_statuses_that_operations_declare_and_no_other() -> None:
    declared = refusals.ANY | refusals.KEY | frozenset().union(*(each.refuses for each in EVERY))
    every = {(status, code) for code in Code for status in code.statuses}
    assert every - {(405, Code.METHOD_NOT_ALLOWED), (499, Code.CANCELLED)} == declared


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=110))
@with_example("tokenizer")
@with_example("a..b")
@with_example("-a")
@with_example("a.")
@with_example("a" * 101)
def test_the_pattern_of_a_tag_is_what_is_taken(tag: str) -> None:
    schema = reference().document["components"]["schemas"]["SwapRequest"]
    valid = Draft202012Validator(schema).is_valid({"model_tag": tag})
    assert valid == (tag_fault(tag) is None)


def test_a_downgraded_stream_is_one_warning_one_delta_one_done() -> None:
    stream = str(openapi_examples.STREAMED["TranscriptionEvent"]["downgraded"]["value"])
    kinds = [json.loads(block[6:])["type"] for block in stream.split("\n\n")[:-1]]
    assert kinds == ["warning", "transcript.text.delta", "transcript.text.done"]


# --- what it refuses at start-up -----------------------------------------------------------------------


@frozen
class Strange:
    """A type with a field nobody can describe."""

    when: complex = field(metadata={"says": "When."})


@frozen
class Speechless:
    """A type whose field has no sentence."""

    word: str


@frozen
class Holed:
    """A type that holds another."""

    inner: Strange | None = field(default=None, metadata={"says": "Inside."})


@pytest.mark.parametrize(
    "gives", [Strange, Holed, Speechless, int, Events(Strange | int, "E"), Mapping[str, str]]
)
async def test_an_unknown_type_stops_the_start(gives: Any) -> None:
    operation = Operation("GET", "/x", health, "x", ("service",), gives=(gives,))
    with pytest.raises((TypeError, KeyError)):
        build((operation,))
    with pytest.raises((TypeError, KeyError)):
        async with serving(operations=(operation,)):
            pass


def test_two_types_of_one_name_are_refused() -> None:
    other = type("Speechless", (), {})
    with pytest.raises(TypeError):
        schemas = Schemas()
        schemas._known["Speechless"] = (other, Side.ANSWERED)
        schemas.ref(Speechless, Side.ANSWERED)


def test_one_method_on_one_path_twice_is_refused() -> None:
    operation = Operation("GET", "/x", health, "x", ("service",), gives=("text/plain",))
    with pytest.raises(ValueError, match="GET /x is there twice"):
        build((operation, operation))


# --- the document as it is served ----------------------------------------------------------------------


async def test_a10_the_served_document_is_the_one_built_from_the_operations() -> None:
    async with serving() as served:
        said = await served.say(get("/openapi.json"))
        assert (said.status, said.headers["content-type"]) == (200, "application/json; charset=utf-8")
        document = json.loads(said.body)
        assert {"/health", "/v1/models", "/v1/audio/transcriptions"} <= set(document["paths"])
        again = await served.say(get("/openapi.json", If_None_Match=said.headers["etag"]))
        assert (again.status, again.body) == (304, b"")
        assert again.headers["etag"] == said.headers["etag"]
        head = await served.say(get("/openapi.json", "HEAD"))
        assert (head.status, head.headers["content-length"]) == (200, str(len(said.body)))


def test_a10_a_whole_service_serves_what_the_tests_compare_with(tmp_path: Path) -> None:
    with running(tmp_path, {}, relays=True) as service:
        served = service.client.get("/openapi.json").json
        router = {
            (route.method, route.resource.canonical)
            for route in service.app.router.routes()
            if route.resource is not None and route.method != "HEAD"
        }
    assert Reference(served).document == reference().document
    told = {(method.upper(), path) for path, methods in served["paths"].items() for method in methods}
    pages = {(each.method, each.path.partition("{")[0]) for each in EVERY if not each.shown}
    plain = {(method, path) for method, path in router if (method, path.partition("{")[0]) not in pages}
    assert plain == told
