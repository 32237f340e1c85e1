"""Within /v1 the reference only grows: compared with the file of the last release."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aistack.web.openapi.document import build
from aistack.web.operations import EVERY
from tests.unit.web.openapi.additive import breaking

RELEASED = Path(__file__).parents[4] / "docs" / "openapi.released.json"
Doc = dict[str, Any]
HEAR = "/v1/audio/transcriptions"


@pytest.fixture
def new() -> Doc:
    document: Doc = json.loads(json.dumps(build(EVERY)))
    return document


def test_nothing_that_was_released_is_gone(new: Doc) -> None:
    assert breaking(json.loads(RELEASED.read_text(encoding="utf-8")), new) == []


def test_the_same_is_no_change(new: Doc) -> None:
    assert breaking(new, copy.deepcopy(new)) == []


def schemas(document: Doc) -> Doc:
    found: Doc = document["components"]["schemas"]
    return found


def responses(document: Doc, path: str = HEAR, method: str = "post") -> Doc:
    found: Doc = document["paths"][path][method]["responses"]
    return found


def form(document: Doc) -> Doc:
    found: Doc = schemas(document)["TranscriptionForm"]
    return found


Change = Callable[[Doc], Any]

BREAKS: dict[str, tuple[Change, str]] = {
    "a path": (lambda d: d["paths"].pop("/health"), "/health: is gone"),
    "a method": (
        lambda d: d["paths"]["/v1/audio/{path}"].pop("delete"),
        "DELETE /v1/audio/{path}: is gone",
    ),
    "a success": (
        lambda d: responses(d).update({"201": responses(d).pop("200")}),
        f"POST {HEAR}: 200 is gone",
    ),
    "a media type": (
        lambda d: responses(d)["200"]["content"].pop("text/vtt"),
        "text/vtt is not answered any more",
    ),
    "a header": (lambda d: responses(d)["503"]["headers"].pop("Retry-After"), "Retry-After is gone"),
    "a header that may be missing": (
        lambda d: d["components"]["headers"]["X-Request-ID"].pop("required"),
        "X-Request-ID may be missing now",
    ),
    "an answered member": (
        lambda d: schemas(d)["ModelEntry"]["properties"].pop("created"),
        ".created: is gone",
    ),
    "an answered member that may be missing": (
        lambda d: schemas(d)["ModelEntry"]["required"].remove("created"),
        ".created: may be missing now",
    ),
    "an answered member of another type": (
        lambda d: schemas(d)["HealthResponse"]["properties"]["version"].update(type="integer"),
        ".version: the type was",
    ),
    "an answered member that may be null": (
        lambda d: schemas(d)["ModelEntry"]["properties"]["owned_by"].update(type=["string", "null"]),
        ".owned_by: the type was",
    ),
    "a new answered word": (
        lambda d: schemas(d)["ErrorBody"]["properties"]["kind"]["enum"].append("strange"),
        "values that old clients do not know",
    ),
    "a new error code": (
        lambda d: responses(d)["400"]["x-error-codes"].append("strange"),
        "strange is an error code that old clients do not know",
    ),
    "a new member of a closed answer": (
        lambda d: schemas(d)["ModelInfo"]["properties"].update(available={"type": "boolean"}),
        "members that it was said never to have",
    ),
    "another event of a stream": (
        lambda d: schemas(d)["TranscriptionEvent"]["oneOf"].append(
            {"$ref": "#/components/schemas/TokenEvent"}
        ),
        "TokenEvent is new among what can be there",
    ),
    "an asked member": (lambda d: form(d)["properties"].pop("prompt"), ".prompt: is gone"),
    "an asked member that is required": (
        lambda d: form(d)["required"].append("model"),
        ".model: is required now",
    ),
    "a new asked member that is required": (
        lambda d: (form(d)["properties"].update(x={"type": "string"}), form(d)["required"].append("x")),
        ".x: is required now",
    ),
    "an asked word": (
        lambda d: form(d)["properties"]["response_format"]["enum"].remove("srt"),
        "not every value is taken any more",
    ),
    "an asked type": (
        lambda d: schemas(d)["GenerateRequest"]["properties"]["top_k"].update(type="integer"),
        ".top_k: the type was",
    ),
    "a tighter limit": (
        lambda d: form(d)["properties"]["temperature"].update(maximum=0.5),
        "maximum was 1.0, is 0.5",
    ),
    "a new limit": (
        lambda d: form(d)["properties"]["prompt"].update(maxLength=9),
        "maxLength was None, is 9",
    ),
    "another default": (
        lambda d: form(d)["properties"]["stream"].update(default=True),
        "the default was False, is True",
    ),
    "a closed request": (
        lambda d: form(d).update(additionalProperties=False),
        "takes no other members any more",
    ),
    "a taken media type": (
        lambda d: d["paths"]["/generate"]["post"]["requestBody"].update(content={"text/plain": {}}),
        "application/json is not taken any more",
    ),
    "a required parameter": (
        lambda d: d["components"]["parameters"]["Prefer"].update(required=True),
        "the parameter header Prefer is required now",
    ),
    "a key for what was open": (
        lambda d: d["paths"]["/v1/models"]["get"].update(security=[{"bearer": []}]),
        "no key is not enough any more",
    ),
    "another name for generated clients": (
        lambda d: d["paths"]["/health"]["get"].update(operationId="health"),
        "operationId was getHealth, is health",
    ),
}


@pytest.mark.parametrize("what", BREAKS)
def test_a_breaking_change_is_refused(new: Doc, what: str) -> None:
    change, sentence = BREAKS[what]
    old = copy.deepcopy(new)
    change(new)
    found = breaking(old, new)
    assert any(sentence in each for each in found), found


GROWS: dict[str, Change] = {
    "a path": lambda d: d["paths"].update({"/v1/new": copy.deepcopy(d["paths"]["/health"])}),
    "an answered member": lambda d: schemas(d)["ModelEntry"]["properties"].update(x={"type": "string"}),
    "an asked member": lambda d: form(d)["properties"].update(x={"type": "string"}),
    "an asked word": lambda d: form(d)["properties"]["response_format"]["enum"].append("ssa"),
    "a looser limit": lambda d: form(d)["properties"]["temperature"].update(maximum=2.0),
    "an asked null": lambda d: form(d)["properties"]["prompt"].update(type=["string", "null"]),
    "a member that always comes now": lambda d: schemas(d)["ModelEntry"]["required"].append("loaded"),
    "a header": lambda d: responses(d)["200"]["headers"].update({"X": {"schema": {"type": "string"}}}),
    "an error": lambda d: responses(d, "/health", "get").update(
        {"503": copy.deepcopy(responses(d)["503"])}
    ),
    "a media type": lambda d: responses(d)["200"]["content"].update({"text/ssa": {}}),
    "a parameter": lambda d: d["paths"]["/health"]["get"]["parameters"].append(
        {"name": "x", "in": "query", "schema": {"type": "string"}}
    ),
    "words": lambda d: d["info"].update(description="new"),
}


@pytest.mark.parametrize("what", GROWS)
def test_an_addition_is_accepted(new: Doc, what: str) -> None:
    old = copy.deepcopy(new)
    GROWS[what](new)
    assert new != old
    assert breaking(old, new) == []
