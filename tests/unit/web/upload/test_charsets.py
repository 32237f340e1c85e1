"""Which charsets a form's text may come in, and how a part's own header is read."""

from __future__ import annotations

import pytest

from aistack.web.upload.charsets import SUPPORTED, decoder
from aistack.web.upload.disposition import PARAMETERS_MAX, Disposition, disposition

TEXT = "Grüße"


def read(name: str, data: bytes) -> str | None:
    """The text of `data` in the charset `name`, or None if that is refused."""
    decode = decoder(name)
    return None if decode is None else decode(data)


@pytest.mark.parametrize("name", ["utf-8", "UTF-8", "utf8", "Utf_8", " utf-8 ", "utf-8-sig", "us-ascii"])
def test_utf_8_by_any_of_its_names_with_and_without_a_mark(name: str) -> None:
    assert read(name, TEXT.encode()) == TEXT
    assert read(name, b"\xef\xbb\xbf" + TEXT.encode()) == TEXT


@pytest.mark.parametrize("name", ["iso-8859-1", "ISO8859-1", "ISO_8859-1", "latin-1", "Latin1", "l1"])
def test_latin_1_by_any_of_its_names(name: str) -> None:
    assert read(name, b"Gr\xfc\xdfe") == TEXT


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("utf-16", b"\xff\xfe" + TEXT.encode("utf-16-le")),
        ("utf-16", b"\xfe\xff" + TEXT.encode("utf-16-be")),
        ("UTF16", TEXT.encode("utf-16-le")),
        ("utf-16le", TEXT.encode("utf-16-le")),
        ("utf-16-le", b"\xff\xfe" + TEXT.encode("utf-16-le")),
        ("UTF-16BE", TEXT.encode("utf-16-be")),
        ("utf_16_be", b"\xfe\xff" + TEXT.encode("utf-16-be")),
    ],
)
def test_utf_16_in_both_orders(name: str, data: bytes) -> None:
    assert read(name, data) == TEXT


@pytest.mark.parametrize(
    "name",
    [
        *("punycode", "idna", "utf-7", "utf-32", "unicode_escape", "raw_unicode_escape", "cp1252"),
        *("mbcs", "base64", "hex", "rot13", "zlib", "bz2", "undefined", "klingon", "utf-8\0", "", "*"),
    ],
)
def test_anything_else_is_refused(name: str) -> None:
    assert decoder(name) is None


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("utf-8", b"\xff"),
        ("utf-8", b"\xed\xa0\x80"),
        ("us-ascii", b"\xfc"),
        ("utf-16", b"a"),
        ("utf-16-le", b"\x00\xd8a\x00"),
        ("utf-16-be", b"\xdc\x00"),
    ],
)
def test_bytes_that_are_not_text_in_it_raise(name: str, data: bytes) -> None:
    """Lone surrogates among it: no decoder gives out what UTF-8 cannot hold."""
    with pytest.raises(UnicodeDecodeError):
        read(name, data)


def test_the_sentence_names_what_is_supported() -> None:
    assert all(decoder(name) is not None for name in SUPPORTED.replace(" or ", ", ").split(", "))


# --- the header of a part ---


@pytest.mark.parametrize(
    ("header", "name", "filename"),
    [
        ('form-data; name="model"', "model", None),
        ("form-data; name=model", "model", None),
        ('form-data;name="model";', "model", None),
        ('FORM-DATA ; NAME = "model" ; ; ', "model", None),
        ('form-data; name=""', "", None),
        ('form-data; name="file"; filename="a; b.wav"', "file", "a; b.wav"),
        ('form-data; filename="a b.wav"; name="file"', "file", "a b.wav"),
        ("form-data; name=file; filename=a b.wav", "file", "a b.wav"),
        (r'form-data; name="file"; filename="a\"b\\c.wav"', "file", r"a\b\c.wav".replace("\\", '"', 1)),
        ('form-data; name="file"; filename=""', "file", ""),
        ("form-data; name=file; filename=x; filename*=utf-8''%c3%a4.wav", "file", "ä.wav"),
        ("form-data; name=file; filename*=UTF-8'de'%c3%a4.wav; filename=x", "file", "ä.wav"),
        ("form-data; name=file; filename*=iso-8859-1''%e4.wav", "file", "ä.wav"),
        ("form-data; name=file; filename*=''a.wav", "file", "a.wav"),
        ("form-data; name*=utf-8''model", "model", None),
        # What cannot be read of a file's name does not make a text of it.
        ("form-data; name=file; filename*=punycode''-b", "file", ""),
        ("form-data; name=file; filename*=klingon''x; filename=a", "file", "a"),
        ("form-data; name=file; filename*=utf-8''%ff", "file", ""),
        ("form-data; name=file; filename*=a.wav", "file", ""),
        ("form-data; name=file; filename*=utf-8''\udce4", "file", ""),
        ("form-data; name=file; filename*0=\"punycode''b\"; filename*1=bb", "file", ""),
        ("form-data; name*=punycode''-b", None, None),
        ("form-data; name*=unicode_escape''%5cud800; name=x", "x", None),
    ],
)
def test_what_a_part_is(header: str, name: str | None, filename: str | None) -> None:
    assert disposition(header) == Disposition(name, filename)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "form-data",
        ";",
        "form-data; name",
        'form-data; name="a',
        'form-data; name="a"b',
        'form-data; name=a"b"',
        "form-data; name=a; name=b",
        "form-data; name=file; " + "; ".join(f"p{n}=x" for n in range(PARAMETERS_MAX)),
    ],
)
def test_what_cannot_be_read_says_nothing(header: str) -> None:
    assert disposition(header) == Disposition()
