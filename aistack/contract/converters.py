"""Strict cattrs converters: contract types to JSON, and JSON to contract types. Pure.

Never the global converter: the stock one reads "false" as true, 3.9 as the integer 3 and "abc" as a
list of letters. Three rules here: JSON types are exact; absent instead of null (unless a field says
`KEEP_NULL`); no NaN or infinity in or out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, overload

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from aistack.contract.fields import AnnotatedField, KeepNull, annotated_fields, without_none
from aistack.contract.limits import Limit, TotalCharacters, closed_list
from aistack.errors import BackendFault, Code, Fault, malformed

C = TypeVar("C", bound=attrs.AttrsInstance)
Hook = Callable[[Any, Any], Any]
"""A structure hook: the parsed value and the type asked for."""

# --- out ---------------------------------------------------------------------------------------------

_LINE_BREAKS = str.maketrans({"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"})
"""Characters that line readers built on `str.splitlines` take for the end of a line."""


def finite(value: float, otherwise: float = 0.0) -> float:
    """`value`, or `otherwise` if it is NaN or infinite."""
    return value if math.isfinite(value) else otherwise


def _sane(plain: object) -> object:
    """A JSON-ready value with every number that JSON does not know replaced by 0."""
    if isinstance(plain, float):
        return finite(plain)
    if isinstance(plain, Mapping):
        return {key: _sane(value) for key, value in plain.items()}
    if isinstance(plain, list | tuple):
        return [_sane(value) for value in plain]
    return plain


def dumps(plain: object) -> bytes:
    """Compact JSON on one line, UTF-8, unescaped; lone surrogates become '?'."""
    try:
        text = _encode(plain)
    except ValueError:
        text = _encode(_sane(plain))
    return text.translate(_LINE_BREAKS).encode("utf-8", "replace")


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def to_plain(value: attrs.AttrsInstance) -> dict[str, Any]:
    """A contract value as dicts, lists and scalars; fields without a value are left out."""
    plain: dict[str, Any] = _json().unstructure(value)
    return plain


def to_json(value: attrs.AttrsInstance) -> bytes:
    """A contract value as compact JSON; fields without a value are left out."""
    return dumps(to_plain(value))


# --- in ----------------------------------------------------------------------------------------------


@overload
def structure(plain: object, kind: type[C], *, tolerant: bool = ...) -> C: ...
@overload
def structure(plain: object, kind: UnionType, *, tolerant: bool = ...) -> object: ...
def structure(plain: object, kind: Any, *, tolerant: bool = False) -> object:
    """`plain` (parsed JSON) as `kind`: a contract type, or a union of some that differ in a literal.

    Raises BackendFault for the first thing that is wrong: 400 `invalid_field` or `missing_field`. The
    types of all fields come first, then the limits, each in the order of the fields. Unknown fields
    are refused, unless `tolerant`.
    """
    try:
        value = _json(tolerant).structure(plain, kind)
    except _WRONG as exc:
        raise BackendFault(_wrong(exc)) from exc
    for path, limit in _broken(kind, value, ()):
        param = ".".join(path)
        message = f"The field '{param}' must {limit.must}."
        raise BackendFault(malformed(message, Code.INVALID_FIELD, param))
    return value


_WRONG = (cattrs.BaseValidationError, TypeError, ValueError, KeyError, AttributeError)
"""What cattrs raises for a value that it cannot read."""


class _WrongType(TypeError):
    """A value of another JSON type; the text stands after "must be"."""


def _text(value: object, _: object) -> str:
    if type(value) is not str:
        raise _WrongType("a string")
    return value


def _boolean(value: object, _: object) -> bool:
    if type(value) is not bool:
        raise _WrongType("true or false")
    return value


def _whole(value: object, _: object) -> int:
    """2.0 is a whole number, as it is in JSON Schema."""
    if type(value) is float and value.is_integer():
        return int(value)
    if type(value) is not int:
        raise _WrongType("a whole number")
    return value


def _number(value: object, _: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise _WrongType("a number")


def _word(kind: Any) -> Hook:
    """A literal: only its type is checked here; that it is one of the words is a limit."""
    return _boolean if type(get_args(kind)[0]) is bool else _text


def _items(kind: Any, converter: cattrs.Converter) -> Hook:
    """A list as a tuple. Stops at the first wrong item: cattrs would collect the errors of millions."""
    item_kind = get_args(kind)[0]
    read = converter.get_structure_hook(item_kind)

    def hook(value: object, _: object) -> tuple[object, ...]:
        if not isinstance(value, list):
            raise _WrongType("a list")
        items = []
        for place, item in enumerate(value):
            try:
                items.append(read(item, item_kind))
            except _WRONG as exc:
                exc.add_note(cattrs.IterableValidationNote("", place, item_kind))
                raise cattrs.IterableValidationError("", [exc], kind) from None
        return tuple(items)

    return hook


def _members(cls: type[attrs.AttrsInstance], converter: cattrs.Converter) -> Hook:
    read: Hook = make_dict_structure_fn(
        cls, converter, _cattrs_forbid_extra_keys=converter.forbid_extra_keys
    )

    def hook(value: object, kind: object) -> object:
        if not isinstance(value, dict):
            raise _WrongType("an object")
        return read(value, kind)

    return hook


def _absent_not_null(cls: type[C], converter: cattrs.Converter) -> Callable[[C], dict[str, Any]]:
    optional = {
        each.name: override(omit_if_default=True)
        for each in annotated_fields(cls)
        if each.default is None and each.find(KeepNull) is None
    }
    return make_dict_unstructure_fn(cls, converter, **optional)  # type: ignore[arg-type]


def _is_tuple(kind: Any) -> bool:
    return get_origin(kind) is tuple


def _is_literal(kind: Any) -> bool:
    return closed_list(kind) is not None


@cache
def _json(tolerant: bool = False) -> cattrs.Converter:
    """The converter for JSON; `tolerant`: unknown fields are ignored instead of refused."""
    converter = cattrs.Converter(forbid_extra_keys=not tolerant)
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook(bool, _boolean)
    converter.register_structure_hook(int, _whole)
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook_factory(attrs.has, _members)
    converter.register_structure_hook_factory(_is_tuple, _items)
    converter.register_structure_hook_factory(_is_literal, _word)
    converter.register_unstructure_hook(float, finite)
    converter.register_unstructure_hook_factory(attrs.has, _absent_not_null)
    return converter


def _broken(kind: Any, value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Limit]]:
    """Each limit that `value` breaks, with the path to it; closed lists of words last in an object."""
    kind = without_none(kind)
    words = closed_list(kind)
    if words is not None:
        if not words.fits(value):
            yield path, words
    elif isinstance(value, tuple):
        for place, item in enumerate(value):
            yield from _broken(get_args(kind)[0], item, (*path, str(place)))
    elif attrs.has(cls := type(value)):
        for field in _in_order(cls):
            yield from _broken_field(field, getattr(value, field.name), (*path, field.name))


def _broken_field(
    field: AnnotatedField, value: Any, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Limit]]:
    """The field's own limits, then its items, then what the items have together."""
    if value is None:
        return
    broken = [limit for limit in field.limits if not limit.fits(value)]
    yield from ((path, limit) for limit in broken if not isinstance(limit, TotalCharacters))
    yield from _broken(field.kind, value, path)
    yield from ((path, limit) for limit in broken if isinstance(limit, TotalCharacters))


@cache
def _in_order(cls: Any) -> list[AnnotatedField]:
    def is_closed(field: AnnotatedField) -> bool:
        return closed_list(without_none(field.kind)) is not None

    return sorted(annotated_fields(cls), key=is_closed)


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
        extra = min(exc.extra_fields)[:80]
        param = ".".join([*path, extra])
        return malformed(f"Unknown field '{param}'.", Code.INVALID_FIELD, param)
    if isinstance(exc, KeyError):
        return malformed(f"The field '{param}' is missing.", Code.MISSING_FIELD, param)
    where = f"The field '{param}'" if param else "The body"
    what = f"must be {exc}" if isinstance(exc, _WrongType) else "has an invalid value"
    return malformed(f"{where} {what}.", Code.INVALID_FIELD, param)
