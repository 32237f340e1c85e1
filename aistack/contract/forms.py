"""The fields of a multipart form as contract types: text parsed by the type of each field. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_args, get_origin

import attrs

from aistack.contract.booleans import boolean
from aistack.contract.fields import AnnotatedField, IgnoredWith, annotated_fields, without_none
from aistack.contract.limits import closed_list
from aistack.contract.public import FilePart
from aistack.errors import BackendFault, Code, malformed

F = TypeVar("F", bound=attrs.AttrsInstance)
Sent = Mapping[str, Sequence[str | FilePart]]


def form(cls: type[F], fields: Sent) -> F:
    """The fields of a form, each with its values in the order they came, as `cls`.

    `""` is absent; unknown fields are ignored; of a scalar that was sent twice the last counts.
    Raises BackendFault: 400 `missing_field` or `invalid_field` with the field's name as `param`.
    """
    sent = {name: [value for value in values if value != ""] for name, values in fields.items()}
    values: dict[str, object] = {}
    for field in sorted(annotated_fields(cls), key=_after_switches):
        switch = field.find(IgnoredWith)
        if switch is not None and values.get(switch.switch):
            continue
        value = _read(field, sent)
        if value is not None:
            values[field.name] = value
        elif field.default is attrs.NOTHING:
            message = f"The field '{field.name}' is missing."
            raise BackendFault(malformed(message, Code.MISSING_FIELD, field.name))
    return cls(**values)


def _after_switches(field: AnnotatedField) -> bool:
    return field.find(IgnoredWith) is not None


def _read(field: AnnotatedField, sent: Sent) -> object:
    """The value of one field; None if it is absent."""
    name = field.name
    kind = without_none(field.kind)
    if get_origin(kind) is tuple:
        items = [
            item.strip()
            for raw in (*sent.get(name, ()), *sent.get(f"{name}[]", ()))
            for item in _split(name, _text(name, raw))
        ]
        each = get_args(kind)[0]
        return tuple(_scalar(name, each, item) for item in items if item) or None
    raw = sent.get(name)
    if not raw:
        return None
    if kind is FilePart:
        if len(raw) > 1:
            raise _invalid(name, "be sent once")
        if not isinstance(raw[0], FilePart):
            raise _invalid(name, "be sent as a file")
        return raw[0]
    value = _scalar(name, kind, _text(name, raw[-1]))
    for limit in field.limits:
        if not limit.fits(value):
            raise _invalid(name, limit.must)
    return value


def _text(name: str, raw: str | FilePart) -> str:
    if isinstance(raw, FilePart):
        raise _invalid(name, "be sent as text, not as a file")
    return raw


def _split(name: str, text: str) -> list[str]:
    """The items of one value of a list field: a JSON list, or joined by commas."""
    if not text.lstrip().startswith("["):
        return text.split(",")
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        items = None
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise _invalid(name, "be a list of words")
    return items


def _scalar(name: str, kind: Any, text: str) -> Any:
    if kind is str:
        return text
    if kind is bool:
        value = boolean(text)
        if value is None:
            raise _invalid(name, f"be true or false, not {_shown(text)}")
        return value
    if kind is int:
        try:
            return int(text)
        except ValueError:
            raise _invalid(name, f"be a whole number, not {_shown(text)}") from None
    if kind is float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise _invalid(name, f"be a number, not {_shown(text)}")
        return number
    words = closed_list(kind)
    if words is not None:
        if not words.fits(text.strip()):
            raise _invalid(name, f"{words.must}, not {_shown(text)}")
        return text.strip()
    raise TypeError(f"form fields of type {kind!r} are not known")


def _shown(text: str) -> str:
    return "'" + (text if len(text) <= 60 else text[:57] + "...") + "'"


def _invalid(name: str, must: str) -> BackendFault:
    return BackendFault(malformed(f"The field '{name}' must {must}.", Code.INVALID_FIELD, name))
