"""docs/errors/: a page per `error.code`, and their index, from the codes and the OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aistack.errors import Code, Fault, Retry, error_object, fault_headers
from aistack.web.openapi.examples import example_fault
from contrib.dev.pages.codes import CodeNotes, notes

Doc = Mapping[str, Any]

MADE = "<!-- made by `python -m contrib.dev.pages`; change contrib/dev/pages/ instead -->\n"
_ADVICE: Mapping[Retry, str] = {
    Retry.LATER: "Retry after that many seconds; OpenAI's libraries do so by themselves",
    Retry.NOW: "One retry may help",
    Retry.NEVER: "Do not retry",
}
_SHORT: Mapping[Retry, str] = {Retry.LATER: "after `Retry-After`", Retry.NOW: "once", Retry.NEVER: "no"}


def pages(doc: Doc) -> dict[str, str]:
    """Path below docs/ -> Markdown."""
    operations = _operations(doc)
    made = {
        f"errors/{code.value}.md": _page(code, more, operations[code]) for code, more in notes().items()
    }
    return made | {"errors/README.md": _index()}


def _operations(doc: Doc) -> dict[Code, list[str]]:
    """Code -> the operations that respond with it."""
    found: dict[Code, list[str]] = {code: [] for code in Code}
    for path, methods in doc["paths"].items():
        for method, operation in methods.items():
            codes = [
                code
                for each in operation["responses"].values()
                for code in each.get("x-error-codes", ())
            ]
            for code in dict.fromkeys(codes):
                found[Code(code)].append(f"{method.upper()} {path}")
    return found


def _page(code: Code, more: CodeNotes, operations: Sequence[str]) -> str:
    faults = [example_fault(status, code) for status in code.statuses]
    lines = [
        MADE,
        f"# {code.value}",
        "",
        f"{code.meaning} {more.more}".rstrip(),
        "",
        "| | |",
        "|---|---|",
    ]
    lines += [f"| Status {fault.status} | {_facts(fault)} |" for fault in faults]
    lines += [f"| Cause | {more.cause} |"]
    lines += [f"| What a client can do | {more.client} |"] if more.client else []
    lines += [f"| What the operator can do | {more.operator} |"] if more.operator else []
    lines += [""]
    if code is Code.CANCELLED:
        lines += ["No response carries it. In the log:", ""]
        lines += _fenced({"status": code.status, "code": code.value})
        lines += ["(with the other fields of [`job.done`](../operating/configuration.md#logs)).", ""]
    else:
        for fault in faults:
            lines += [f"A {fault.status}:", "", *_fenced({"error": error_object(fault)})]
    if operations:
        lines += ["Operations that respond with it:", "", *(f"- `{name}`" for name in operations), ""]
    return "\n".join([*lines, "[All codes](README.md) · [the error format](../api/errors.md)", ""])


def _facts(fault: Fault) -> str:
    """Kind, headers, and whether to retry."""
    sent = "".join(f", with `{name}: {value}`" for name, value in fault_headers(fault))
    if fault.code is Code.CANCELLED:
        return f"Kind `{fault.kind.word}`."
    if fault.status < 500:
        return f"Kind `{fault.kind.word}`. Change the request: the same one gets the same response."
    return f"Kind `{fault.kind.word}`{sent}. {_ADVICE[fault.retry]}."


def _retry(faults: Sequence[Fault]) -> str:
    """For a cell of the index: per status where they differ."""
    if len({fault.retry for fault in faults}) == 1:
        return _SHORT[faults[0].retry]
    return ", ".join(f"{_SHORT[fault.retry]} ({fault.status})" for fault in faults)


def _fenced(value: object) -> list[str]:
    return ["```json", json.dumps(value, indent=2, ensure_ascii=False), "```", ""]


def _index() -> str:
    lines = [
        MADE,
        "# Troubleshooting by error code",
        "",
        "Every unsuccessful response has an `error.code`. Each code has a page: what it means, its "
        "cause, what helps, an example, and the operations that respond with it. The list is closed "
        "within a version. The format of errors: [Errors](../api/errors.md).",
        "",
        "| code | status | kind | retry | |",
        "|---|---|---|---|---|",
    ]
    for code in Code:
        faults = [example_fault(status, code) for status in code.statuses]
        cells = (
            f"[`{code.value}`]({code.value}.md)",
            ", ".join(str(fault.status) for fault in faults),
            ", ".join(dict.fromkeys(f"`{fault.kind.word}`" for fault in faults)),
            _retry(faults),
            code.meaning,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])
