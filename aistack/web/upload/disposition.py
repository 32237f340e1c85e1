"""What a form's part says it is: the name of its field, and of its file (RFC 7578, RFC 8187). Pure.

The HTTP library's own reading of the header decodes `name*=` with whatever codec the header names, and
warns of what it cannot read: with the client's text, and remembering each for ever.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from attrs import frozen

from aistack.web.upload.charsets import DEFAULT, decoder

PARAMETERS_MAX = 16
"""Parts have two. A header with more than this is not meant to be read."""
_PARAMETER = re.compile(
    r'[ \t]*;[ \t]*([^\s;="]++)[ \t]*=[ \t]*(?:"([^"\\]*+(?:\\.[^"\\]*+)*+)"|([^;"]*+))', re.DOTALL
)
"""One parameter: its name, and its value in quotes or without. No choice is ever taken back, so that
the time is linear."""


@frozen
class Disposition:
    """`name` is None if the part has none, `filename` if it is not a file; both may be empty."""

    name: str | None = None
    filename: str | None = None


def disposition(header: str) -> Disposition:
    """What the value of a Content-Disposition says; nothing if it cannot be read.

    `name*=` wins over `name=` where its charset is one of ours, and counts as absent otherwise. What
    has a file's name in any form, even one that cannot be read, is a file.
    """
    said: dict[str, str] = {}
    place = len(kind := header.partition(";")[0])
    if not kind.strip():
        return Disposition()
    while (found := _PARAMETER.match(header, place)) is not None:
        key, quoted, plain = found[1].lower(), found[2], found[3]
        if key in said or len(said) == PARAMETERS_MAX:
            return Disposition()
        said[key] = plain.strip() if quoted is None else _unescaped(quoted)
        place = found.end()
    if header[place:].strip(" \t;"):
        return Disposition()
    is_file = any(key.partition("*")[0] == "filename" for key in said)
    return Disposition(_value(said, "name"), _value(said, "filename") or "" if is_file else None)


def _unescaped(quoted: str) -> str:
    """Each backslash stands for the character after it."""
    return "\\".join(piece.replace("\\", "") for piece in quoted.split("\\\\"))


def _value(said: dict[str, str], key: str) -> str | None:
    extended = said.get(f"{key}*")
    decoded = _decoded(extended) if extended is not None else None
    return said.get(key) if decoded is None else decoded


def _decoded(value: str) -> str | None:
    """The text of `charset'language'percent-encoded`, or None if it is not one that we read."""
    charset, _, rest = value.partition("'")
    _, complete, encoded = rest.partition("'")
    decode = decoder(charset or DEFAULT)
    if decode is None or not complete or not encoded.isascii():
        return None
    try:
        return decode(unquote_to_bytes(encoded))
    except UnicodeDecodeError:
        return None
