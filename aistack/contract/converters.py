"""Strict cattrs converters: contract types to JSON, JSON and form fields to contract types. Pure.

Never the global converter: the stock one reads "false" as true, 3.9 as the integer 3 and "abc" as a
list of letters. Three rules here: JSON types are exact; absent instead of null (unless a field says
`keep_null`); no NaN or infinity in or out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Literal, TypeVar, get_args, get_origin

import attrs
import cattrs
from cattrs.gen import make_dict_unstructure_fn, override

from aistack.contract.public import FilePart
from aistack.errors import BackendFault, Code, Fault, malformed

T = TypeVar("T", bound=attrs.AttrsInstance)

TRUE = frozenset({"true", "1", "yes", "on"})
FALSE = frozenset({"false", "0", "no", "off"})

# --- out ---------------------------------------------------------------------------------------------

_LINE_BREAKS = str.maketrans({"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"})
"""Characters that line readers built on `str.splitlines` take for the end of a line."""


def finite(value: float, otherwise: float = 0.0) -> float:
    """`value`, or `otherwise` if it is NaN or infinite."""
    return value if math.isfinite(value) else otherwise


def _sane(plain: Any) -> Any:
    """A JSON-ready value with every number that JSON does not know replaced by 0."""
    if isinstance(plain, float):
        return finite(plain)
    if isinstance(plain, Mapping):
        return {key: _sane(value) for key, value in plain.items()}
    if isinstance(plain, (list, tuple)):
        return [_sane(value) for value in plain]
    return plain


def dumps(plain: Any) -> bytes:
    """Compact JSON on one line, UTF-8, unescaped; lone surrogates become '?'."""
    try:
        text = _encode(plain)
    except ValueError:
        text = _encode(_sane(plain))
    return text.translate(_LINE_BREAKS).encode("utf-8", "replace")


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def to_plain(value: Any) -> Any:
    """A contract value as dicts, lists and scalars."""
    return _json().unstructure(value)


def to_json(value: Any) -> bytes:
    """A contract value as compact JSON; fields without a value are left out."""
    return dumps(to_plain(value))


# --- in: JSON ----------------------------------------------------------------------------------------


def _exact(kind: type) -> Callable[[Any, Any], Any]:
    def hook(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise TypeError(f"expected {_NAMES[kind]}")
        return value

    return hook


_NAMES: Mapping[type, str] = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


def _number(value: Any, _: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise TypeError("expected a number")
    return float(value)


def _is_tuple(kind: Any) -> bool:
    return get_origin(kind) is tuple


def _items(kind: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    as_list: Any = list[get_args(kind)[0]]  # type: ignore[misc]
    each = converter.get_structure_hook(as_list)

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, list):
            raise TypeError("expected a list")
        return tuple(each(value, as_list))

    return hook


def _absent_not_null(cls: type, converter: cattrs.Converter) -> Callable[[Any], Any]:
    attrs.resolve_types(cls)
    optional = {
        each.name: override(omit_if_default=True)
        for each in attrs.fields(cls)
        if each.default is None and not each.metadata.get("keep_null")
    }
    return make_dict_unstructure_fn(cls, converter, **optional)  # type: ignore[arg-type]


@cache
def _json() -> cattrs.Converter:
    """The converter for JSON. Unknown fields are refused."""
    converter = cattrs.Converter(forbid_extra_keys=True)
    for kind in (str, int, bool):
        converter.register_structure_hook(kind, _exact(kind))
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook_factory(_is_tuple, _items)
    converter.register_unstructure_hook(float, finite)
    converter.register_unstructure_hook_factory(attrs.has, _absent_not_null)
    return converter


def structure(plain: Any, cls: Any) -> Any:
    """`plain` (parsed JSON) as `cls`. Raises BackendFault: 400 `invalid_field` or `missing_field`.

    `cls` may be a union of contract types that differ in a literal field.
    """
    try:
        return _json().structure(plain, cls)
    except (cattrs.BaseValidationError, TypeError, ValueError, KeyError, AttributeError) as exc:
        raise BackendFault(_wrong(exc)) from exc


def _wrong(exc: BaseException) -> Fault:
    """The fault for the first thing cattrs found wrong, with the path to it."""
    path: list[str] = []
    while isinstance(exc, (cattrs.ClassValidationError, cattrs.IterableValidationError)):
        with_notes, without = exc.group_exceptions()
        if not with_notes:
            exc = without[0]
            continue
        exc, note = with_notes[0]
        path.append(str(note.name if hasattr(note, "name") else note.index))
    param = ".".join(path) or None
    if isinstance(exc, cattrs.ForbiddenExtraKeysError):
        extra = sorted(exc.extra_fields)[0][:80]
        param = ".".join([*path, extra])
        return malformed(f"The field '{param}' is not known here.", Code.INVALID_FIELD, param)
    if isinstance(exc, KeyError):
        return malformed(f"The field '{param}' is missing.", Code.MISSING_FIELD, param)
    what = f": {exc}" if isinstance(exc, TypeError) and str(exc).startswith("expected") else ""
    where = f"The field '{param}'" if param else "The body"
    return malformed(f"{where} has a wrong value{what}.", Code.INVALID_FIELD, param)


# --- in: forms ---------------------------------------------------------------------------------------


def form(cls: type[T], fields: Mapping[str, Sequence[str | FilePart]]) -> T:
    """The fields of a form, each with its values in the order they came, as `cls`.

    Text is parsed by the type of each field; `""` is absent; unknown fields are ignored; of a
    scalar sent twice the last counts. Raises BackendFault: 400 `missing_field` or `invalid_field`
    with the field's name as `param`.
    """
    attrs.resolve_types(cls)
    sent = {name: [value for value in values if value != ""] for name, values in fields.items()}
    known = attrs.fields_dict(cls)
    values: dict[str, Any] = {}
    for name in sorted(known, key=lambda each: "ignored_with" in known[each].metadata):
        attribute = known[name]
        if values.get(attribute.metadata.get("ignored_with", "")):
            continue
        value = _read(attribute, sent)
        if value is not None:
            values[name] = value
        elif attribute.default is attrs.NOTHING:
            raise BackendFault(malformed(f"The field '{name}' is missing.", Code.MISSING_FIELD, name))
    return cls(**values)


def _read(attribute: Any, sent: Mapping[str, Sequence[str | FilePart]]) -> Any:
    """The value of one field; none if it is absent."""
    name: str = attribute.name
    kind = _without_none(attribute.type)
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
            raise _invalid(name, f"The field '{name}' must be sent once.")
        if not isinstance(raw[0], FilePart):
            raise _invalid(name, f"The field '{name}' must be sent as a file.")
        return raw[0]
    value = _scalar(name, kind, _text(name, raw[-1]))
    limits = attribute.metadata
    if "min" in limits and not limits["min"] <= value <= limits["max"]:
        raise _invalid(name, f"The field '{name}' must be from {limits['min']:g} to {limits['max']:g}.")
    return value


def _without_none(kind: Any) -> Any:
    options = [option for option in get_args(kind) if option is not type(None)]
    if type(None) in get_args(kind) and len(options) == 1:
        return options[0]
    return kind


def _text(name: str, raw: str | FilePart) -> str:
    if isinstance(raw, FilePart):
        raise _invalid(name, f"The field '{name}' must be sent as text, not as a file.")
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
        raise _invalid(name, f"The field '{name}' is not a list of words.")
    return items


def _scalar(name: str, kind: Any, text: str) -> Any:
    if kind is str:
        return text
    word = text.strip()
    if kind is bool:
        if word.lower() in TRUE | FALSE:
            return word.lower() in TRUE
        raise _invalid(name, f"The field '{name}' must be true or false, not {_shown(text)}.")
    if kind is float or kind is int:
        try:
            number = kind(word)
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            return number
        raise _invalid(name, f"The field '{name}' must be {_NAMES[kind]}, not {_shown(text)}.")
    if get_origin(kind) is Literal:
        if word in get_args(kind):
            return word
        choices = ", ".join(get_args(kind))
        raise _invalid(name, f"The field '{name}' must be one of {choices}, not {_shown(text)}.")
    raise TypeError(f"form fields of type {kind!r} are not known")


def _shown(text: str) -> str:
    return "'" + (text if len(text) <= 60 else text[:57] + "...") + "'"


def _invalid(name: str, message: str) -> BackendFault:
    return BackendFault(malformed(message, Code.INVALID_FIELD, name))
