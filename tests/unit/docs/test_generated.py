"""The pages that a program writes are as it would write them now, and say what the code says."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import pytest

from aistack.errors import Code, fault_headers
from aistack.jobs.states import Phase
from aistack.web.openapi.examples import example_fault
from contrib.dev.pages import machine, parts
from contrib.dev.pages.__main__ import DOCS, FOLDERS, PICTURES, made
from contrib.dev.pages.codes import notes

PAGES = made()


@pytest.mark.parametrize("name", PAGES)
def test_page_is_current(name: str) -> None:
    """If this fails: python -m contrib.dev.pages"""
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name]


def test_no_page_is_left_over_drift() -> None:
    there = {f"{folder}/{path.name}" for folder in FOLDERS for path in (DOCS / folder).iterdir()}
    assert there == PAGES.keys() - set(PICTURES)


def test_every_code_has_its_page_and_no_page_is_for_another() -> None:
    pages = {path.stem for path in (DOCS / "errors").glob("*.md")} - {"README"}
    assert pages == {code.value for code in Code} == {code.value for code in notes()}


@pytest.mark.parametrize("code", Code)
def test_a_codes_page_says_everything(code: Code) -> None:
    more = notes()[code]
    page = PAGES[f"errors/{code.value}.md"]
    for said in (code.meaning, more.more, more.cause, more.client, more.operator):
        assert said in page
    assert more.cause
    assert page.count("\n| Status ") == len(code.statuses)
    if code is not Code.CANCELLED:
        bodies = [part.partition("```")[0] for part in page.split("```json\n")[1:]]
        assert {json.loads(body)["error"]["code"] for body in bodies} == {code.value}


@pytest.mark.parametrize("code", Code)
def test_what_is_said_of_retries_is_what_is_sent(code: Code) -> None:
    """The page of a code names the header that the code is sent with, and no other."""
    for status in code.statuses:
        (row,) = (
            line
            for line in PAGES[f"errors/{code.value}.md"].splitlines()
            if line.startswith(f"| Status {status} |")
        )
        sent = fault_headers(example_fault(status, code))
        for name in ("Retry-After", "x-should-retry"):
            told = [f"{name}: {value}" for known, value in sent if known == name]
            assert [part for part in row.split("`") if part.startswith(name)] == told


def test_the_operations_of_a_code_are_those_that_declare_it() -> None:
    doc = json.loads((DOCS / "openapi.json").read_text(encoding="utf-8"))
    for code in Code:
        page = PAGES[f"errors/{code.value}.md"]
        for path, methods in doc["paths"].items():
            for method, operation in methods.items():
                codes = [each.get("x-error-codes", ()) for each in operation["responses"].values()]
                declared = any(code.value in each for each in codes)
                assert (f"- `{method.upper()} {path}`\n" in page) == declared


def test_the_reference_has_every_operation_and_object() -> None:
    doc = json.loads((DOCS / "openapi.json").read_text(encoding="utf-8"))
    for path, methods in doc["paths"].items():
        for method, operation in methods.items():
            (tag,) = operation["tags"]
            page = PAGES[f"reference/{tag}.md"]
            assert f"\n## `{method.upper()} {path}`\n" in page
            for answer in operation["responses"].values():
                for code in answer.get("x-error-codes", ()):
                    assert f"[`{code}`](../errors/{code}.md)" in page
    for name, schema in doc["components"]["schemas"].items():
        section = PAGES["reference/objects.md"].partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert section, name
        for member in schema.get("properties", ()):
            assert f"| `{member}`" in section, (name, member)


def test_the_picture_shows_every_state_and_every_way() -> None:
    root = ElementTree.fromstring(machine.svg())
    space = "{http://www.w3.org/2000/svg}"
    words = [text.text or "" for text in root.iter(f"{space}text")]
    assert {phase.name for phase in Phase} <= set(words)
    assert len(list(root.iter(f"{space}line"))) == len(machine.edges())
    for events in machine.edges().values():
        assert set(events) <= set(words)


def test_the_picture_of_the_parts_has_every_folder_and_no_arrow_upwards() -> None:
    ElementTree.fromstring(parts.svg())
    places = {name: row for name, (_, row) in parts._AT.items()}
    assert parts.parts().keys() == places.keys()
    drawn = parts.arrows()
    assert len(drawn) > len(places)
    assert [pair for pair in drawn if places[pair[0]] >= places[pair[1]]] == []
