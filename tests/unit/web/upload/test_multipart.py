"""What a form may ask of the server: charsets from a closed list, and no work beyond its size."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aistack.config import Config, ServerSection
from aistack.web.upload import multipart as forms
from aistack.web.upload.charsets import SUPPORTED
from tests.doubles.web import Answered, Served, a_file, get, multipart, named, post, serving, soon
from tests.unit.web.upload.test_form import ROUTES, told

pytestmark = pytest.mark.both_loops

TEXT = "Grüße 🎧"
KLINGON = "klingon-17"


def typed(name: str, charset: str) -> str:
    return named(name, f"\r\nContent-Type: text/plain; charset={charset}")


def upload(*parts: tuple[str, bytes]) -> bytes:
    return post("/upload", multipart(*parts, a_file()))


async def send(tmp_path: Path, request: bytes) -> Answered:
    config = Config(server=ServerSection(spool_dir=str(tmp_path)))
    async with serving(config, operations=ROUTES) as served:
        return await served.say(request)


def refused(answered: Answered, param: str) -> None:
    """400, about that field, and it says what would do."""
    assert answered.status == 400, answered.body
    error = answered.error
    assert (error["kind"], error["code"], error["param"]) == ("malformed", "invalid_field", param)
    assert SUPPORTED in error["message"]


# --- charsets ---


@pytest.mark.parametrize(
    ("charset", "data"),
    [
        ("utf-8", TEXT.encode()),
        ('"UTF-8"', b"\xef\xbb\xbf" + TEXT.encode()),
        ("", TEXT.encode()),
        ("us-ascii", TEXT.encode()),
        ("utf-16", TEXT.encode("utf-16")),
        ("utf-16be", TEXT.encode("utf-16-be")),
    ],
)
async def test_text_in_a_charset_of_the_list(tmp_path: Path, charset: str, data: bytes) -> None:
    value = told(await send(tmp_path, upload((typed("prompt", charset), data))))
    assert value["fields"] == {"prompt": [TEXT]}


async def test_text_in_latin_1_and_a_mark_without_a_charset(tmp_path: Path) -> None:
    parts = ((typed("prompt", "latin-1"), b"Gr\xfc\xdfe"), (named("model"), b"\xef\xbb\xbfauto"))
    assert told(await send(tmp_path, upload(*parts)))["fields"] == {
        "prompt": ["Grüße"],
        "model": ["auto"],
    }


@pytest.mark.parametrize(
    "charset", ["punycode", "idna", "utf-7", "unicode_escape", "cp1252", "utf-32", KLINGON]
)
async def test_any_other_charset_is_400(tmp_path: Path, charset: str) -> None:
    refused(await send(tmp_path, upload((typed("prompt", charset), b"x"))), "prompt")
    asked = (named("_charset_"), charset.encode())
    refused(await send(tmp_path, upload(asked, (named("prompt"), b"x"))), "_charset_")


@pytest.mark.parametrize(
    ("charset", "data"),
    [("utf-8", b"\xff\xfe"), ("utf-16", b"odd"), ("utf-16", b"\x00\xd8"), ("utf-8", b"\xed\xa0\x80")],
)
async def test_bytes_that_are_not_text_in_it_are_400(tmp_path: Path, charset: str, data: bytes) -> None:
    refused(await send(tmp_path, upload((typed("model", charset), data))), "model")


async def test_a_first_field_names_the_charset_of_the_others(tmp_path: Path) -> None:
    """RFC 7578, 4.6: of those that do not name their own."""
    parts = (
        (named("_charset_"), b"ISO-8859-1"),
        (named("prompt"), b"Gr\xfc\xdfe"),
        (typed("hotwords", "utf-8"), "Grüße".encode()),
    )
    value = told(await send(tmp_path, upload(*parts)))
    assert value["fields"] == {"prompt": ["Grüße"], "hotwords": ["Grüße"]}


async def test_an_empty_charset_field_asks_for_nothing(tmp_path: Path) -> None:
    parts = ((named("_charset_"), b""), (named("prompt"), TEXT.encode()))
    assert told(await send(tmp_path, upload(*parts)))["fields"] == {"prompt": [TEXT]}


async def test_a_later_charset_field_is_a_field_like_any_other(tmp_path: Path) -> None:
    parts = ((named("prompt"), b"a"), (named("_charset_"), b"punycode"), (named("model"), b"-b"))
    assert told(await send(tmp_path, upload(*parts)))["fields"] == {
        "prompt": ["a"],
        "_charset_": ["punycode"],
        "model": ["-b"],
    }


@pytest.fixture
def looked_up() -> Iterator[list[str]]:
    """Names that Python was asked for and does not know: each stays in its memory for ever."""
    names: list[str] = []

    def search(name: str) -> None:
        names.append(name)

    codecs.register(search)
    try:
        yield names
    finally:
        codecs.unregister(search)


@pytest.mark.parametrize(
    "parts",
    [
        [(typed("prompt", KLINGON), b"x")],
        [(named("_charset_"), KLINGON.encode()), (named("prompt"), b"x")],
        [(f"Content-Disposition: form-data; name*={KLINGON}''x", b"x")],
        [(f"Content-Disposition: form-data; name=o; filename*={KLINGON}''x", b"x")],
        [(f'Content-Disposition: form-data; name*0="{KLINGON}\'"; name*1="\'x"', b"x")],
    ],
    ids=["text", "_charset_", "name", "file name", "name in pieces"],
)
async def test_no_name_of_a_clients_is_looked_up_among_the_codecs(
    tmp_path: Path, looked_up: list[str], parts: list[tuple[str, bytes]]
) -> None:
    answered = await send(tmp_path, upload(*parts))
    assert answered.status in (200, 400)
    assert not [name for name in looked_up if "klingon" in name]


# --- text that UTF-8 cannot hold ---


async def test_surrogates_in_a_list_are_400(tmp_path: Path) -> None:
    """JSON can spell what no charset can; the refusal quotes it."""
    parts = (named("timestamp_granularities[]"), b'["\\ud800"]')
    answered = await send(tmp_path, post("/v1/audio/transcriptions", multipart(parts, a_file())))
    assert (answered.status, answered.error["code"]) == (400, "invalid_field")


async def test_a_field_whose_name_is_not_utf_8_is_413_if_it_is_too_long(tmp_path: Path) -> None:
    body = multipart((named("prompt"), b"p" * (forms.TEXT_MAX + 1)), a_file())
    answered = await send(tmp_path, post("/upload", body.replace(b'"prompt"', b'"\xff"')))
    assert (answered.status, answered.error["code"]) == (413, "too_large")


# --- work ---


async def longest_silence(served: Served, until: asyncio.Future[Answered]) -> float:
    """The longest time between two answers of /health, in seconds, until the other answer is there."""
    raw = await served.connect()
    longest, last = 0.0, time.perf_counter()
    done = False
    while not done:
        done = until.done()  # looked at before the call: the last silence counts too
        await raw.send(get("/health"))
        assert (await raw.reply()).status == 200
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return longest


def slowly(size: int) -> float:
    """Seconds that Python's own codec takes for an attack of this size."""
    began = time.perf_counter()
    (b"-" + b"b" * size).decode("punycode")
    return time.perf_counter() - began


@pytest.mark.parametrize("door", ["charset", "_charset_"])
async def test_a_form_does_not_stop_the_loop_by_its_charset(tmp_path: Path, door: str) -> None:
    """The bound is what a quarter of the work takes on this very machine."""
    size = 160_000
    data = b"-" + b"b" * size
    parts = (
        [(typed("prompt", "punycode"), data)]
        if door == "charset"
        else [(named("_charset_"), b"punycode"), (named("prompt"), data)]
    )
    quarter = slowly(size // 2)
    async with serving(Config(server=ServerSection(spool_dir=str(tmp_path)))) as served:
        request = post("/v1/audio/transcriptions", multipart(*parts, a_file()))
        answering = asyncio.ensure_future(served.say(request))
        try:
            assert await soon(longest_silence(served, answering)) < quarter
        finally:
            answered = await soon(answering)
    assert (answered.status, answered.error["code"]) == (400, "invalid_field")


async def test_a_preamble_of_lines_is_400(tmp_path: Path) -> None:
    """Each line before the first part costs far more than its bytes."""
    most = forms.LINES_MAX // 2
    body = multipart(a_file())
    assert (await send(tmp_path, post("/upload", b"\r\n" * most + body))).status == 200
    answered = await send(tmp_path, post("/upload", b"\n" * forms.LINES_MAX + body))
    assert (answered.status, answered.error["code"]) == (400, "invalid_body")
    answered = await send(tmp_path, post("/upload", b"x" * forms.LINE_MAX + b"\r\n" + body))
    assert (answered.status, answered.error["code"]) == (400, "invalid_body")


async def test_a_part_may_have_as_many_headers_as_before(tmp_path: Path) -> None:
    more = "".join(f"\r\nX-{n}: y" for n in range(120))
    value = told(await send(tmp_path, upload(*[(named(f"p{n}", more), b"x") for n in range(50)])))
    assert len(value["fields"]) == 50


@pytest.mark.parametrize("header", ["form-data" + ";" * 500, "form-data; name", "; name=a", "é; a=b"])
async def test_a_header_that_cannot_be_read_is_no_warning(tmp_path: Path, header: str) -> None:
    """A warning would quote the client in the log, and Python keeps each for ever. Such a part has no
    name, and is read past."""
    value = told(await send(tmp_path, upload((f"Content-Disposition: {header}", b"x"))))
    assert value["fields"] == {}


async def test_a_long_content_type_is_read_in_one_pass(tmp_path: Path) -> None:
    """Read as the header of a mail it takes the square of its length: a third of a second here."""
    kind = "multipart/form-data; boundary=xBOUNDx" + ';a=";"' * 1300
    asked = post("/upload", multipart(a_file()), kind)
    async with serving(
        Config(server=ServerSection(spool_dir=str(tmp_path))), operations=ROUTES
    ) as served:
        await served.say(asked)
        with cost() as own:
            json.loads(json.dumps(list(range(100_000))))
        with cost() as spent:
            assert (await served.say(asked.replace(b"xBOUNDx", b"xBOUNDy"))).status == 200
    assert spent[0] < 5 * own[0]


@contextlib.contextmanager
def cost() -> Iterator[list[float]]:
    """The processor's seconds that the block takes."""
    spent = [0.0]
    began = time.process_time()
    yield spent
    spent[0] = time.process_time() - began
