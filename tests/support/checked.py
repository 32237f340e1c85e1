"""Every answer the tests see, compared with the reference: status, media type, headers, body, code.

The reference is the one that `GET /openapi.json` serves (a test says so). Here it is read strictly: an
answer may not hold members that the reference does not tell, though clients must bear them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator

from aistack.errors import Code
from aistack.web.openapi.document import build
from aistack.web.operations import EVERY

BELOW_HTTP = "The request is not valid HTTP."
"""What a request is told that could not even be read, so that no operation is its own."""
Headers = Mapping[str, str]


def strict(document: dict[str, Any]) -> dict[str, Any]:
    """The document with every schema closed that does not say it is open."""
    closed: dict[str, Any] = json.loads(json.dumps(document))
    for schema in closed["components"]["schemas"].values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return closed


class Reference:
    """One OpenAPI document that answers are compared with."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = strict(document)
        self._validators: dict[str, Draft202012Validator] = {}
        self._paths = [
            (_pattern(path, methods), methods)
            for path, methods in sorted(
                self.document["paths"].items(), key=lambda item: (item[0].count("{"), -len(item[0]))
            )
        ]

    def operation(self, method: str, target: str) -> Any:
        """The operation of a request; none if the reference has none."""
        method = "get" if method == "HEAD" else method.lower()
        for pattern, methods in self._paths:
            if method in methods and pattern.fullmatch(urlsplit(target).path):
                return methods[method]
        return None

    def check(
        self,
        method: str,
        target: str,
        status: int,
        headers: Headers,
        body: bytes,
        complete: bool = True,
    ) -> None:
        """Fails if the answer is not one that the reference tells. Names of headers in lower case.

        Bodies that are relayed are not looked at: what the doubles behind say is up to each test.
        """
        where = f"{method} {target} -> {status}"
        operation = self.operation(method, target)
        if operation is None or _below_http(status, body):
            if status >= 400:
                self._error(where, status, body if complete and method != "HEAD" else b"", None)
            return
        answers = operation["responses"]
        assert str(status) in answers, f"{where}: the reference has {list(answers)}"
        answer = answers[str(status)]
        self._headers(where, answer.get("headers", {}), headers)
        if "content" not in answer or method == "HEAD" or answer.get("x-relayed"):
            return
        media = headers.get("content-type", "").partition(";")[0].strip().lower()
        content = answer["content"].get(media, answer["content"].get("*/*"))
        assert content is not None, f"{where}: {media} is not in {list(answer['content'])}"
        if media == "text/event-stream":
            for data in events(body):
                self.event(where, data, content["schema"])
        elif status >= 400:
            self._error(where, status, body if complete else b"", answer["x-error-codes"])
        elif media == "application/json" and complete and "schema" in content:
            self._valid(where, json.loads(body), content["schema"])

    def event(self, where: str, data: str, schema: Any) -> None:
        """One event's data against the schema of an event."""
        said = schema["properties"]["data"]
        if data in [each.get("const") for each in said.get("oneOf", [])]:
            return
        (of_json,) = [each for each in said.get("oneOf", [said]) if "contentSchema" in each]
        self._valid(where, json.loads(data), of_json["contentSchema"])

    def _error(self, where: str, status: int, body: bytes, codes: list[str] | None) -> None:
        if not body:
            return
        envelope = json.loads(body)
        self._valid(where, envelope, {"$ref": "#/components/schemas/ErrorEnvelope"})
        code = envelope["error"]["code"]
        assert codes is None or code in codes, f"{where}: {code} is not in {codes}"
        assert Code(code)

    def _headers(self, where: str, told: Mapping[str, Any], sent: Headers) -> None:
        for name, header in told.items():
            if "$ref" in header:
                header = self.document["components"]["headers"][header["$ref"].rpartition("/")[2]]
            value: Any = sent.get(name.lower())
            assert value is not None or not header.get("required"), f"{where}: no {name}"
            if value is not None:
                if header["schema"]["type"] == "integer":
                    value = int(value)
                self._valid(f"{where} {name}", value, header["schema"])

    def _valid(self, where: str, value: Any, schema: Any) -> None:
        key = json.dumps(schema, sort_keys=True)
        if key not in self._validators:
            whole = {**schema, "components": self.document["components"]}
            self._validators[key] = Draft202012Validator(whole)
        wrong = [
            f"{each.json_path}: {each.message}" for each in self._validators[key].iter_errors(value)
        ]
        assert not wrong, f"{where}: {wrong[:3]}"


def _pattern(path: str, methods: dict[str, Any]) -> re.Pattern[str]:
    """What a path matches: a place in it may hold slashes, and what its schema's pattern says."""
    found = re.escape(path)
    for methods_ in methods.values():
        for place in methods_["parameters"]:
            if place.get("in") == "path":
                said = place["schema"].get("pattern", ".+").removeprefix("^").removesuffix("$")
                found = found.replace(re.escape("{" + place["name"] + "}"), f"(?:{said})")
    return re.compile(found)


def _below_http(status: int, body: bytes) -> bool:
    return status == 400 and BELOW_HTTP.encode() in body


def events(body: bytes) -> list[str]:
    """The data of the whole events in a body; comments, and an event that was cut, are left out."""
    blocks = body.decode("utf-8", "replace").split("\n\n")[:-1]
    return [
        line.removeprefix("data: ")
        for block in blocks
        for line in block.split("\n")
        if line.startswith("data: ")
    ]


@cache
def reference() -> Reference:
    """The reference of a service with all its parts."""
    return Reference(json.loads(json.dumps(build(EVERY))))


def check(
    method: str, target: str, status: int, headers: Headers, body: bytes, complete: bool = True
) -> None:
    """As `Reference.check`, with the reference of this version."""
    reference().check(method, target, status, headers, body, complete)
