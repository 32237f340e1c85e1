"""docs/errors/: a page per `error.code`, and their index, from the table and the OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aistack.errors import WAITING_HELPS, Code, ErrorKind, Fault, envelope, fault_headers
from aistack.web.faults import gone
from aistack.web.openapi.examples import example_fault
from contrib.dev.pages.codes import Told, codes

Doc = Mapping[str, Any]

MADE = "<!-- made by `python -m contrib.dev.pages`; change contrib/dev/pages/ instead -->\n"
_OWN: Mapping[Code, Fault] = {
    Code.CANCELLED: gone(),
    Code.METHOD_NOT_ALLOWED: Fault(
        ErrorKind.MALFORMED,
        Code.METHOD_NOT_ALLOWED,
        "GET is not possible on /v1/audio/transcriptions.",
        status_override=405,
    ),
}
"""Codes that stand at no operation."""
_ALWAYS = {Code.METHOD_NOT_ALLOWED: 405, Code.CANCELLED: 499, Code.NOT_FOUND: 404}


def pages(doc: Doc) -> dict[str, str]:
    """Path below docs/ -> Markdown."""
    where = _where(doc)
    told = codes()
    made = {f"errors/{code.value}.md": _page(code, told[code], where[code]) for code in told}
    return made | {"errors/README.md": _index(told, where)}


Places = dict[Code, dict[int, list[str]]]


def _where(doc: Doc) -> Places:
    """Code -> status -> operations that answer so."""
    found: Places = {code: ({_ALWAYS[code]: []} if code in _ALWAYS else {}) for code in Code}
    for path, methods in doc["paths"].items():
        for method, operation in methods.items():
            for status, answer in operation["responses"].items():
                for code in answer.get("x-error-codes", ()):
                    found[Code(code)].setdefault(int(status), []).append(f"{method.upper()} {path}")
    return found


def _fault(status: int, code: Code) -> Fault:
    return _OWN.get(code) or example_fault(status, code)


def _kinds(code: Code, places: Places) -> str:
    return ", ".join(
        dict.fromkeys(f"`{_fault(status, code).kind.word}`" for status in sorted(places[code]))
    )


def _page(code: Code, told: Told, where: dict[int, list[str]]) -> str:
    lines = [MADE, f"# {code.value}", "", told.says, ""]
    lines += ["| | |", "|---|---|"]
    for status in sorted(where):
        fault = _fault(status, code)
        sent = ", ".join(f"`{name}: {value}`" for name, value in fault_headers(fault))
        if code in WAITING_HELPS and fault.retry_after is None:
            sent = "`Retry-After`"
        lines.append(f"| status {status} | kind `{fault.kind.word}`{', with ' + sent if sent else ''} |")
    lines += [
        f"| whose doing | {told.cause} |",
        f"| the caller can | {told.client} |",
        f"| the operator can | {told.operator} |",
        "",
    ]
    if code is Code.CANCELLED:
        lines += [
            "No answer carries it. In the log:",
            "",
            *_fenced({"status": 499, "code": "cancelled"}),
        ]
        lines += ["(with the other fields of [`job.done`](../operating/configuration.md#logs)).", ""]
    else:
        for status in sorted(where):
            lines += [f"As a {status}:", "", *_fenced(json.loads(envelope(_fault(status, code))))]
    lines += _operations(where)
    lines += ["[All codes](README.md) · [the envelope](../api/errors.md)", ""]
    return "\n".join(lines)


def _operations(where: dict[int, list[str]]) -> list[str]:
    met = list(dict.fromkeys(name for names in where.values() for name in names))
    if not met:
        return []
    return ["Operations that answer so:", "", *(f"- `{name}`" for name in met), ""]


def _fenced(value: Any) -> list[str]:
    return ["```json", json.dumps(value, indent=2, ensure_ascii=False), "```", ""]


def _index(table: Mapping[Code, Told], places: Places) -> str:
    lines = [
        MADE,
        "# Troubleshooting by error code",
        "",
        "Every answer that is no success has `error.code`; each has a page with what it means, whose "
        "doing it is and what helps. The list is closed within a version. How errors look in general: "
        "[Errors](../api/errors.md).",
        "",
        "| code | status | kind | |",
        "|---|---|---|---|",
    ]
    for code, told in table.items():
        statuses = ", ".join(str(status) for status in sorted(places[code]))
        first = told.says.partition(". ")[0].rstrip(".")
        lines.append(
            f"| [`{code.value}`]({code.value}.md) | {statuses} | {_kinds(code, places)} | {first} |"
        )
    return "\n".join([*lines, ""])
