"""The charsets that the text of a form may come in: a closed list. Pure.

What a client sends must not choose an algorithm, and Python knows a hundred codecs by name: one needs
the square of the time (`punycode`), others make text that UTF-8 cannot hold (`utf-7`,
`unicode_escape`), and a name that it does not know stays in memory for ever. So a name is looked up
here, and never among Python's codecs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

Decoder = Callable[[bytes], str]

SUPPORTED = "UTF-8, UTF-16 or ISO-8859-1"
DEFAULT = "utf-8"


def decoder(name: str) -> Decoder | None:
    """What decodes the charset called `name`, or None if that is not one of SUPPORTED.

    Case, `-`, `_` and blanks around the name do not matter. The decoder drops a byte order mark and
    raises UnicodeDecodeError; its text has no lone surrogates, so UTF-8 can hold it.
    """
    return _DECODERS.get(name.strip().lower().replace("-", "").replace("_", ""))


def _utf_8(data: bytes) -> str:
    return data.decode("utf-8-sig")


def _utf_16(data: bytes) -> str:
    """As browsers have it on every machine: little-endian unless the mark says otherwise."""
    return _utf_16_be(data) if data.startswith(b"\xfe\xff") else _utf_16_le(data)


def _utf_16_le(data: bytes) -> str:
    return data.removeprefix(b"\xff\xfe").decode("utf-16-le")


def _utf_16_be(data: bytes) -> str:
    return data.removeprefix(b"\xfe\xff").decode("utf-16-be")


def _latin_1(data: bytes) -> str:
    return data.decode("latin-1")


_DECODERS: Mapping[str, Decoder] = {
    "utf8": _utf_8,
    "utf8sig": _utf_8,
    # What older mail and HTTP libraries write on any text: where it is true, UTF-8 reads the same.
    "usascii": _utf_8,
    "ascii": _utf_8,
    "utf16": _utf_16,
    "utf16le": _utf_16_le,
    "utf16be": _utf_16_be,
    "iso88591": _latin_1,
    "latin1": _latin_1,
    "l1": _latin_1,
}
"""By name in lower case, without `-` and `_`."""
