"""Log lines for people: a JSON object per line becomes time, level, message and fields. Pure.

What is no JSON object is left alone. Whatever came from outside is escaped where it could steer a
terminal: ids, paths and names in the lines are a caller's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aistack.observe.terminal import plain

LEVELS = ("debug", "info", "warning", "error")
ABOVE = {"critical": "error", "fatal": "error", "exception": "error", "warn": "warning"}
COLOURS = {"debug": "2", "warning": "33", "error": "31"}
HEAD = frozenset({"timestamp", "ts", "level", "service", "message"})
BELOW = ("exception", "stack")
"""Fields of several lines, shown under the line."""


def parsed(line: str) -> dict[str, Any] | None:
    """The object a line is, or none."""
    if not line.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def level(entry: Mapping[str, Any]) -> str:
    """The line's level; an access line has that of its status."""
    said = entry.get("level")
    if isinstance(said, str):
        word = ABOVE.get(said.lower(), said.lower())
        return word if word in LEVELS else "info"
    status = entry.get("status")
    if not isinstance(status, int) or status < 400:
        return "info"
    return "error" if status >= 500 and status != 503 else "warning"


def wanted(entry: Mapping[str, Any], least: str, request: str | None) -> bool:
    """Whether the line is of this level or above it, and about this request."""
    if request is not None and entry.get("request_id") != request:
        return False
    return LEVELS.index(level(entry)) >= LEVELS.index(least)


def shown(entry: Mapping[str, Any], colour: bool) -> str:
    """One line, and a traceback below it if there is one."""
    word = level(entry)
    fields = [
        f"{plain(str(key))}={value(item)}"
        for key, item in entry.items()
        if key not in HEAD and key not in BELOW and not _in_message(entry, key) and item is not None
    ]
    line = f"{_moment(entry)}  {word:<7}  {_message(entry)}"
    if colour and word in COLOURS:
        line = f"\x1b[{COLOURS[word]}m{line}\x1b[0m"
    text = "  ".join([line, *fields])
    for key in BELOW:
        if isinstance(entry.get(key), str):
            text += "".join(f"\n    {plain(each, keep=chr(9))}" for each in entry[key].splitlines())
    return text


def value(item: Any) -> str:
    """A field's value: a plain word as it is, everything else as JSON."""
    if isinstance(item, float):
        return f"{item:.6g}"
    if isinstance(item, str) and item and not any(each in item for each in ' "='):
        return plain(item)
    return plain(json.dumps(item, ensure_ascii=False))


def _moment(entry: Mapping[str, Any]) -> str:
    """`2026-11-20 17:44:02.123Z` of a time in ISO 8601."""
    said = entry.get("timestamp", entry.get("ts"))
    if not isinstance(said, str):
        return plain(str(said)) if said is not None else "-"
    date, _, rest = said.partition("T")
    clock, dot, fraction = rest.removesuffix("Z").partition(".")
    zone = "Z" if said.endswith("Z") else ""
    return plain(f"{date} {clock}{dot}{fraction[:3]}{zone}" if rest else said)


def _message(entry: Mapping[str, Any]) -> str:
    if "message" in entry:
        return plain(str(entry["message"]))
    if _is_access(entry):
        return plain(f"{entry['method']} {entry['path']} {entry.get('status')}")
    return "-"


def _is_access(entry: Mapping[str, Any]) -> bool:
    return "message" not in entry and "method" in entry and "path" in entry


def _in_message(entry: Mapping[str, Any], key: str) -> bool:
    return _is_access(entry) and key in ("method", "path", "status")
