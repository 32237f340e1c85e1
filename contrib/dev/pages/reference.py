"""docs/reference/: a page per tag of the OpenAPI document, and one of all its objects."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from contrib.dev.pages.errors import MADE

Doc = Mapping[str, Any]
Schema = Mapping[str, Any]

_KEYS = {
    "bearer": "`Authorization: Bearer` if keys are configured",
    "internal": "`X-Internal-API-Key`",
}


def pages(doc: Doc) -> dict[str, str]:
    """Path below docs/ -> Markdown."""
    made = {f"reference/{tag['name']}.md": _tag(doc, tag) for tag in doc["tags"]}
    return made | {"reference/objects.md": _objects(doc), "reference/README.md": _index(doc)}


def _operations(doc: Doc, tag: str) -> list[tuple[str, str, Mapping[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, methods in doc["paths"].items()
        for method, operation in methods.items()
        if tag in operation["tags"]
    ]


def _index(doc: Doc) -> str:
    lines = [
        MADE,
        "# Reference",
        "",
        "Made from the OpenAPI document that a running server has at `/openapi.json` and shows at "
        "`/docs`. The document is derived from the code that reads and writes the messages, so the two "
        "cannot differ. The committed copy is [openapi.json](../openapi.json).",
        "",
        doc["info"]["description"],
        "",
        "| | operation | |",
        "|---|---|---|",
    ]
    for tag in doc["tags"]:
        for method, path, operation in _operations(doc, tag["name"]):
            says = _line(operation["summary"])
            lines.append(f"| [{tag['name']}]({tag['name']}.md) | `{method} {path}` | {says} |")
    return "\n".join([*lines, "", "All fields: [objects](objects.md).", ""])


def _tag(doc: Doc, tag: Mapping[str, str]) -> str:
    lines = [MADE, f"# Reference: {tag['name']}", "", tag["description"], ""]
    for method, path, operation in _operations(doc, tag["name"]):
        lines += _operation(doc, method, path, operation)
    return "\n".join([*lines, "[All operations](README.md) · [all objects](objects.md)", ""])


def _operation(doc: Doc, method: str, path: str, operation: Mapping[str, Any]) -> list[str]:
    lines = [
        f"## `{method} {path}`",
        "",
        f"**{operation['summary']}.** {operation.get('description', '')}",
        "",
    ]
    keys = [_KEYS[name] for option in operation["security"] for name in option]
    lines += [f"Key: {' or '.join(keys) if keys else 'none'}.", ""]
    rows = [_resolve(doc, each) for each in operation["parameters"]]
    if rows:
        lines += ["| parameter | in | type | |", "|---|---|---|---|"]
        lines += [
            f"| `{row['name']}`{_needed(row.get('required', False))} | {row['in']} "
            f"| {_type(row['schema'])} | {_line(row.get('description', ''))} |"
            for row in rows
        ]
        lines.append("")
    body = operation.get("requestBody")
    if body is not None:
        for media, content in body["content"].items():
            lines += [f"Body, `{media}`:", "", *_fields(doc, content.get("schema", {})), ""]
    return lines + _answers(operation)


def _answers(operation: Mapping[str, Any]) -> list[str]:
    lines = ["| status | media type | body | codes |", "|---|---|---|---|"]
    examples: list[str] = []
    for status, answer in operation["responses"].items():
        content = answer.get("content", {})
        codes = ", ".join(f"[`{code}`](../errors/{code}.md)" for code in answer.get("x-error-codes", ()))
        for media, body in content.items() or [("", {})]:
            events = body.get("schema", {}).get("properties", {}).get("data", {}).get("contentSchema")
            shown = (
                f"events: {_type(events)}"
                if events
                else _type(body["schema"])
                if "schema" in body
                else "–"
            )
            lines.append(f"| {status} | {f'`{media}`' if media else '–'} | {shown} | {codes or '–'} |")
            if int(status) < 300:
                examples += _examples(status, media, body.get("examples", {}))
    return [*lines, "", *examples]


def _examples(status: str, media: str, examples: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for name, example in examples.items():
        value = example.get("value")
        if value is None:
            continue
        text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
        fence = "text" if isinstance(value, str) else "json"
        title = example.get("summary", name.replace("_", " "))
        lines += [f"{status} `{media}`, {title}:", "", f"```{fence}", text.rstrip("\n"), "```", ""]
    return lines


def _objects(doc: Doc) -> str:
    lines = [MADE, "# Objects of the reference", "", "`*` marks members that are always present.", ""]
    for name, schema in doc["components"]["schemas"].items():
        lines += [f"## {name}", "", *_fields(doc, schema, inline=True), ""]
    return "\n".join(lines)


def _fields(doc: Doc, schema: Schema, inline: bool = False) -> list[str]:
    """A table of an object's members; for a named schema, a link to its table."""
    if "$ref" in schema and not inline:
        named = _resolve(doc, schema)
        return [f"{_type(schema)}:", "", *_fields(doc, named, True)]
    lines: list[str] = [schema["description"], ""] if "description" in schema and inline else []
    members = schema.get("properties")
    if not schema:
        return [*lines, "Passed on unchanged."]
    if members is None:
        return [*lines, f"{_type(schema)}."]
    needed = schema.get("required", ())
    lines += ["| member | type | |", "|---|---|---|"]
    for name, member in members.items():
        says = _line(member.get("description", ""))
        lines.append(f"| `{name}`{_needed(name in needed)} | {_type(member)} | {says} |")
    return lines


def _needed(is_: bool) -> str:
    return " *" if is_ else ""


def _line(text: str) -> str:
    """Text for a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def _resolve(doc: Doc, node: Any) -> Any:
    while "$ref" in node:
        found: Any = doc
        for step in node["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        node = found
    return node


def _type(schema: Schema) -> str:
    """One line about a schema: a link, or a type and its limits."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](objects.md#{name.lower()})"
    for word in ("oneOf", "anyOf"):
        if word in schema:
            return " or ".join(dict.fromkeys(_type(each) for each in schema[word]))
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    types = schema.get("type", "any")
    said = " or ".join(types if isinstance(types, list) else [types])
    if said == "array":
        said = f"list of {_type(schema.get('items', {}))}"
    return said + _limits(schema)


def _limits(schema: Schema) -> str:
    limits: Iterable[tuple[str, str]] = (
        ("minimum", "at least {}"),
        ("maximum", "at most {}"),
        ("minLength", "length at least {}"),
        ("maxLength", "length at most {}"),
        ("minItems", "{} or more items"),
        ("maxItems", "at most {} items"),
        ("default", "default `{}`"),
    )
    told = [words.format(json.dumps(schema[key])) for key, words in limits if key in schema]
    return f" ({', '.join(told)})" if told else ""
