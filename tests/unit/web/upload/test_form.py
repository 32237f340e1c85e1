"""Uploads: every form in the wild, every broken body, every limit, and no file left behind."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from attrs import evolve
from structlog.testing import capture_logs

from aistack.config import Config, ServerSection, SlotsSection
from aistack.jobs.model import Slot, Snapshot
from aistack.jobs.states import Mode, Op
from aistack.web.answers import json_answer
from aistack.web.keys import CONFIG, SCHEDULER
from aistack.web.openapi.operation import Operation
from aistack.web.queueing import queue_wish, refuse_unread, unread_refusal
from aistack.web.upload import form as intake
from aistack.web.upload import multipart as forms
from aistack.web.upload.bodies import read_json
from aistack.web.upload.form import receive_audio
from aistack.web.upload.spool import PREFIX, Spool, sweep
from tests.doubles.web import (
    FORM,
    Answered,
    Served,
    a_file,
    get,
    held,
    multipart,
    named,
    post,
    serving,
    soon,
)

pytestmark = pytest.mark.both_loops


def left(folder: Path) -> list[str]:
    """What lies in the spool folder."""
    return os.listdir(folder)


def content_of(path: str) -> bytes:
    return Path(path).read_bytes()


def mode_of(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


async def upload(request: web.Request) -> web.StreamResponse:
    """Takes an upload as the audio handlers do, and tells what came in."""
    settings = request.app[CONFIG]
    wait = queue_wish(request.headers.getall("Prefer", []), settings.slots)
    snapshot = request.app[SCHEDULER].snapshot
    refuse_unread(request, snapshot, Op.TRANSCRIBE, wait, 0.0)
    async with receive_audio(request, settings.server) as received:
        assert request.writer.output_size == 0, "a 100 Continue is no part of the answer"
        content = content_of(received.spool.path)
        assert mode_of(received.spool.path) == 0o600
        assert len(content) == received.spool.bytes
        return json_answer(
            {
                "fields": received.fields,
                "name": received.file_name,
                "size": len(content),
                "file": content[:100].decode("latin-1"),
            }
        )


async def takes_json(request: web.Request) -> web.StreamResponse:
    return json_answer(await read_json(request, request.app[CONFIG].server))


ROUTES = (
    Operation("POST", "/upload", upload, "", ()),
    Operation("POST", "/json", takes_json, "", ()),
)


def spooling(folder: Path, **server: Any) -> Config:
    return Config(server=ServerSection(spool_dir=str(folder), **server))


async def send(tmp_path: Path, request: bytes, **server: Any) -> Answered:
    """One request to /upload; whatever it answered, nothing may be left in the spool folder."""
    async with serving(spooling(tmp_path, **server), operations=ROUTES) as served:
        answered = await served.say(request)
    assert left(tmp_path) == []
    return answered


def told(answered: Answered) -> dict[str, Any]:
    assert answered.status == 200, answered.body
    value: dict[str, Any] = json.loads(answered.body)
    return value


# --- what arrives ---


@pytest.mark.parametrize("file_at", [0, 1, 2])
async def test_parts_come_in_any_order(tmp_path: Path, file_at: int) -> None:
    parts = [(named("model"), b"auto"), (named("language"), b"en")]
    parts.insert(file_at, a_file())
    value = told(await send(tmp_path, post("/upload", multipart(*parts))))
    assert value == {
        "fields": {"model": ["auto"], "language": ["en"]},
        "name": "a.wav",
        "size": 9,
        "file": "RIFFsound",
    }


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('Content-Disposition: form-data; name="file"; filename="a.wav"', "a.wav"),
        ('Content-Disposition: form-data; name="file"\r\nContent-Type: audio/wav', ""),
        ('Content-Disposition: form-data; name="file"\r\nContent-Type: application/octet-stream', ""),
        (named("file", '; filename="a.txt"') + "\r\nContent-Type: text/plain", "a.txt"),
        ("Content-Disposition: form-data; name=file; filename=x; filename*=utf-8''x", "x"),
        ('content-disposition: form-data; filename="ä b.wav"; name="file"', "ä b.wav"),
        ('Content-Type: audio/mpeg\r\nContent-Disposition: form-data; name="file"; filename="u"', "u"),
    ],
)  # fmt: skip
async def test_the_file_is_known_by_its_name(tmp_path: Path, header: str, name: str) -> None:
    value = told(await send(tmp_path, post("/upload", multipart((header, b"\x00\r\n--x\xff")))))
    assert (value["name"], value["file"]) == (name, "\x00\r\n--x\xff")


async def test_a_quoted_boundary_and_typed_text_parts(tmp_path: Path) -> None:
    body = multipart((named("model", "\r\nContent-Type: text/plain; charset=utf-8"), b"auto"), a_file())
    kind = 'multipart/form-data; boundary="xBOUNDx"'
    assert told(await send(tmp_path, post("/upload", body, kind)))["fields"] == {"model": ["auto"]}


async def test_repeated_empty_and_unknown_fields_are_passed_on(tmp_path: Path) -> None:
    body = multipart(
        (named("timestamp_granularities[]"), b"word"),
        (named("timestamp_granularities[]"), b"segment"),
        (named("language"), b""),
        (named("whatever"), "grün 🎧".encode()),
        (named("other", '; filename="o.bin"'), b"a file nobody asked for"),
        a_file(),
    )
    assert told(await send(tmp_path, post("/upload", body)))["fields"] == {
        "timestamp_granularities[]": ["word", "segment"],
        "language": [""],
        "whatever": ["grün 🎧"],
    }


async def test_a_base64_part_is_decoded(tmp_path: Path) -> None:
    header = a_file()[0] + "\r\nContent-Transfer-Encoding: base64"
    assert (
        told(await send(tmp_path, post("/upload", multipart((header, b"UklGRg==")))))["file"] == "RIFF"
    )


def chunked(path: str, body: bytes, size: int, end: bytes = b"0\r\n\r\n") -> bytes:
    head = get(path, "POST", Transfer_Encoding="chunked", Content_Type=FORM)
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return head + b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces) + end


@pytest.mark.parametrize("size", [1, 7, 64, 4096])
async def test_a_chunked_body(tmp_path: Path, size: int) -> None:
    body = multipart((named("model"), b"auto"), a_file(b"x\r\n-" * 50))
    value = told(await send(tmp_path, chunked("/upload", body, size)))
    assert (value["fields"], value["size"]) == ({"model": ["auto"]}, 200)


async def test_a74_an_upload_of_many_blocks(tmp_path: Path) -> None:
    content = os.urandom(3 * 1024 * 1024 + 17)
    value = told(await send(tmp_path, post("/upload", multipart(a_file(content)))))
    assert value["size"] == len(content)
    assert value["file"] == content[:100].decode("latin-1")


async def test_a_hundred_uploads_at_once(tmp_path: Path) -> None:
    body = multipart((named("model"), b"auto"), a_file(b"y" * 300_000))
    async with serving(spooling(tmp_path), operations=ROUTES) as served:
        answers = await asyncio.gather(*(served.say(post("/upload", body)) for _ in range(100)))
    assert [answer.status for answer in answers] == [200] * 100
    assert {told(answer)["size"] for answer in answers} == {300_000}
    assert left(tmp_path) == []


# --- what is wrong ---

GOOD = multipart(a_file())
AUDIO = a_file()[0]
TYPED = "\r\nContent-Type: "
CODED = "\r\nContent-Transfer-Encoding: "


def whole(body: bytes, content_type: str = FORM) -> bytes:
    return post("/upload", body, content_type)


def form(*parts: tuple[str, bytes]) -> bytes:
    return whole(multipart(*parts))


UNREADABLE = {
    "json": whole(b'{"file": 1}', "application/json"),
    "octets": whole(b"RIFF", "application/octet-stream"),
    "url-encoded": whole(b"file=1", "application/x-www-form-urlencoded"),
    "no type": whole(GOOD).replace(f"Content-Type: {FORM}\r\n".encode(), b""),
    "no boundary": whole(GOOD, "multipart/form-data"),
    "empty boundary": whole(GOOD, "multipart/form-data; boundary="),
    "long boundary": whole(GOOD, f"multipart/form-data; boundary={'b' * 71}"),
    "other boundary": whole(GOOD, "multipart/form-data; boundary=else"),
    "mixed": whole(GOOD, "multipart/mixed; boundary=xBOUNDx"),
    "empty body": whole(b""),
    "only LF": whole(GOOD.replace(b"\r\n", b"\n")),
    "cut in the file": whole(GOOD[:-30]),
    "cut in the end": whole(GOOD[:-6]),
    "cut before the end": whole(GOOD[: -len("--xBOUNDx--\r\n")]),
    "cut in headers": whole(GOOD[:40]),
    "bad chunk": chunked("/upload", GOOD, 50, b"zz\r\n"),
    "cut, chunked": chunked("/upload", GOOD[:60], 50),
    "bad header": form(("nonsense without colon", b"x")),
    "nested": form((named("file", TYPED + "multipart/mixed; boundary=q"), b"--q--")),
    "bad base64": form((AUDIO + CODED + "base64", b"UklGR")),
    "too many": form(*[(named(f"f{n}"), b"") for n in range(257)], a_file()),
}
MISSING = {
    "no parts": form(),
    "no file": form((named("model"), b"auto")),
    "nameless": form(("Content-Type: audio/wav", b"RIFF")),
}
NOT_A_FILE = {
    "text": form((named("file"), b"RIFF")),
    "typed text": form((named("file", TYPED + "text/plain; charset=utf-8"), b"RIFF")),
    "two files": form(a_file(), a_file()),
    "x-transfer": form((AUDIO + CODED + "x-uu", b"x")),
}
BAD: dict[str, tuple[bytes, str, str | None]] = {
    "empty file": (form(a_file(b"")), "unsupported_audio", "file"),
    **{case: (request, "invalid_body", None) for case, request in UNREADABLE.items()},
    **{case: (request, "missing_field", "file") for case, request in MISSING.items()},
    **{case: (request, "invalid_field", "file") for case, request in NOT_A_FILE.items()},
}


@pytest.mark.parametrize("case", BAD)
async def test_a66_a67_a68_a_bad_upload_is_400(tmp_path: Path, case: str) -> None:
    request, code, param = BAD[case]
    answered = await send(tmp_path, request, upload_idle_s=2.0)
    assert answered.status == 400, answered.body
    assert (answered.error["kind"], answered.error["code"]) == ("malformed", code)
    assert answered.error["param"] == param


async def test_an_upload_that_falls_silent_is_given_up(tmp_path: Path) -> None:
    request = post("/upload", GOOD[:40], Content_Length=str(len(GOOD)))
    answered = await send(tmp_path, request, upload_idle_s=0.2)
    assert (answered.status, answered.error["code"]) == (400, "invalid_body")


# --- what is too much ---


async def test_a73_a_declared_3_gb_is_refused_unread(tmp_path: Path) -> None:
    answered = await send(tmp_path, post("/upload", b"", Content_Length=str(3 * 1024**3)))
    assert (answered.status, answered.error["kind"], answered.error["code"]) == (
        413,
        "overflow",
        "too_large",
    )


@pytest.mark.parametrize("over", [0, 1])
async def test_a73_the_limit_counts_the_files_bytes_exactly(tmp_path: Path, over: int) -> None:
    body = multipart((named("prompt"), b"p" * 5000), a_file(b"z" * (1000 + over)))
    for request in (post("/upload", body), chunked("/upload", body, 512)):
        answered = await send(tmp_path, request, max_upload_bytes=1000)
        assert answered.status == (413 if over else 200)


async def test_a73_an_endless_chunked_file_ends_at_the_limit(tmp_path: Path) -> None:
    async with serving(spooling(tmp_path, max_upload_bytes=2_000_000), operations=ROUTES) as served:
        raw = await served.connect()
        await raw.send(get("/upload", "POST", Transfer_Encoding="chunked", Content_Type=FORM))
        head = GOOD[: GOOD.index(b"RIFF")]
        await raw.send(f"{len(head):x}\r\n".encode() + head + b"\r\n")
        answering = asyncio.ensure_future(raw.reply())
        sent = 0
        while not answering.done() and sent < 100_000_000:
            await raw.send(b"10000\r\n" + b"\0" * 0x10000 + b"\r\n")
            sent += 0x10000
        answered = await soon(answering)
        raw.close()
    assert (answered.status, answered.error["code"]) == (413, "too_large")
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    "parts",
    [
        [(named("prompt"), b"p" * (forms.TEXT_MAX + 1))],
        [(named(f"p{n}"), b"p" * forms.TEXT_MAX) for n in range(5)],
        [(named("other", '; filename="o"'), b"p" * (forms.OVERHEAD + 1))],
    ],
    ids=["one text", "all texts", "other files"],
)
async def test_too_much_besides_the_file_is_413(tmp_path: Path, parts: list[tuple[str, bytes]]) -> None:
    answered = await send(tmp_path, post("/upload", multipart(*parts, a_file())))
    assert (answered.status, answered.error["code"]) == (413, "too_large")


async def test_too_much_after_the_last_boundary_is_413(tmp_path: Path) -> None:
    answered = await send(tmp_path, post("/upload", GOOD + b"e\r\n" * (forms.OVERHEAD // 2)))
    assert (answered.status, answered.error["code"]) == (413, "too_large")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
async def test_a_full_disk_is_413(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def full(self: Spool, block: bytes) -> int:
        raise OSError(number, "no room")

    monkeypatch.setattr(Spool, "_append", full)
    with capture_logs() as told:
        answered = await send(tmp_path, post("/upload", GOOD))
    assert (answered.status, answered.error["code"]) == (413, "too_large")
    (line,) = [each for each in told if each["event"] == "an upload could not be stored"]
    assert (line["log_level"], line["folder"]) == ("warning", str(tmp_path)), (
        "the operator is told where"
    )


async def test_a_short_write_is_continued(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))

    class Short:
        """A file that takes three bytes at a time, as a nearly full disk does."""

        def __init__(self) -> None:
            self.got = b""

        def write(self, view: memoryview) -> int:
            self.got += view[:3]
            return len(view[:3])

        def close(self) -> None:
            pass

    kept, spool._file = spool._file, Short()  # type: ignore[assignment]
    kept.close()
    await spool.write(b"0123456789")
    assert spool._file.got == b"0123456789"  # type: ignore[attr-defined]
    assert spool.bytes == 10
    spool.discard()
    assert left(tmp_path) == []


async def test_a_spool_folder_that_is_gone_is_500(tmp_path: Path) -> None:
    async with serving(spooling(tmp_path / "gone"), operations=ROUTES) as served:
        answered = await served.say(post("/upload", GOOD))
    assert (answered.status, answered.error["code"]) == (500, "internal_error")
    assert "gone" not in answered.error["message"]


# --- who leaves ---


class Watched(Spool):
    """Tells when a block was written and when the file was removed."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.loop = asyncio.get_running_loop()
        self.written = asyncio.Event()
        self.removed = asyncio.Event()
        watched.put_nowait(self)

    async def write(self, block: bytes) -> None:
        await super().write(block)
        self.written.set()

    def _remove(self) -> None:
        super()._remove()
        self.loop.call_soon_threadsafe(self.removed.set)


watched: asyncio.Queue[Watched] = asyncio.Queue()


@pytest.fixture
def spools(monkeypatch: pytest.MonkeyPatch) -> Iterator[asyncio.Queue[Watched]]:
    """The spools that uploads open, as they come."""
    global watched
    watched = asyncio.Queue()
    monkeypatch.setattr(intake, "Spool", Watched)
    yield watched


@pytest.mark.parametrize("way", ["close", "reset", "half_close"])
async def test_a112_a_client_that_leaves_in_its_upload_leaves_no_file(
    tmp_path: Path, way: str, spools: asyncio.Queue[Watched]
) -> None:
    body = multipart(a_file(b"w" * 4_000_000))
    async with serving(spooling(tmp_path), operations=ROUTES) as served:
        raw = await served.connect()
        await raw.send(post("/upload", body)[:3_000_000])
        spool = await soon(spools.get())
        await soon(spool.written.wait())
        assert len(left(tmp_path)) == 1
        getattr(raw, way)()
        await soon(spool.removed.wait())
        assert left(tmp_path) == []
        assert (await served.say(get("/health"))).status == 200
        raw.close()


async def test_a_spool_discarded_while_it_is_written_is_removed_after_the_write(tmp_path: Path) -> None:
    spool = Watched(str(tmp_path))
    assert os.path.basename(spool.path).startswith(PREFIX)
    entered, go_on = threading.Event(), threading.Event()
    append = spool._append

    def slow(block: bytes) -> int:
        entered.set()
        assert go_on.wait(5)
        return append(block)

    spool._append = slow  # type: ignore[method-assign]
    writing = asyncio.ensure_future(spool.write(b"x" * 10))
    await asyncio.to_thread(entered.wait, 5)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    spool.discard()
    spool.discard()
    assert len(left(tmp_path)) == 1
    go_on.set()
    await soon(spool.removed.wait())
    assert left(tmp_path) == []


async def test_a_large_spool_is_removed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aistack.web.upload.spool._FELT", 5)
    spool = Watched(str(tmp_path))
    await spool.write(b"x" * 10)
    spool.close()
    spool.discard()
    await soon(spool.removed.wait())
    assert left(tmp_path) == []


def test_a_spool_can_be_discarded_without_a_loop(tmp_path: Path) -> None:
    spool = Spool("")
    assert os.path.dirname(spool.path) == tempfile.gettempdir()
    spool.bytes = 10**9
    spool.discard()
    assert not os.path.exists(spool.path)


# --- refused before it is sent ---

LARGE = {"Content_Length": str(9 * 1024 * 1024)}
SMALL = {"Content_Length": "1000"}
EXPECT = {"Expect": "100-continue"}


def busy(served: Served) -> None:
    served.scheduler.snapshot = held()


@pytest.mark.parametrize("more", [LARGE, SMALL | EXPECT])
async def test_a148_a_large_or_held_back_body_is_refused_unread_while_busy(
    tmp_path: Path, more: dict[str, str]
) -> None:
    async with serving(spooling(tmp_path), operations=ROUTES) as served:
        busy(served)
        answered = await served.say(post("/upload", b"", **more))
    assert (answered.status, answered.headers["retry-after"]) == (503, "5")
    assert answered.error["code"] == "slot_busy"
    assert answered.error["holder"]["op"] == "chat"
    assert "This transcription was not started" in answered.error["message"]


async def test_a_small_body_is_read_first_so_that_400_wins(tmp_path: Path) -> None:
    async with serving(spooling(tmp_path), operations=ROUTES) as served:
        busy(served)
        answered = await served.say(post("/upload", multipart()))
    assert answered.status == 400


async def test_who_waits_is_not_refused_unread(tmp_path: Path) -> None:
    async with serving(spooling(tmp_path), operations=ROUTES) as served:
        busy(served)
        body = multipart(a_file(b"l" * (9 * 1024 * 1024)))
        answered = await served.say(post("/upload", body, Prefer="wait=5"))
    assert answered.status == 200


@pytest.mark.parametrize(
    ("snapshot", "status"),
    [
        (held(Op.CHAT), 503),
        (held(Op.LOAD), None),
        (held(Op.UNLOAD), None),
        (Snapshot((Slot("cpu"),)), None),
        (Snapshot((Slot("cuda:0", "holder"), Slot("cuda:1")), held().jobs), None),
        (Snapshot((Slot("cpu"),), mode=Mode.DRAINING), 503),
    ],
)  # fmt: skip
async def test_only_what_would_surely_be_refused_is(snapshot: Snapshot, status: int | None) -> None:
    fault = unread_refusal(snapshot, Op.TRANSCRIBE, 1.0)
    assert (fault.status if fault else None) == status


async def test_a_client_that_asks_is_told_to_go_on_only_when_nothing_speaks_against_it(
    tmp_path: Path,
) -> None:
    async with serving(spooling(tmp_path), operations=ROUTES) as served:
        raw = await served.connect()
        await raw.send(post("/upload", b"", **EXPECT, Content_Length=str(len(GOOD))))
        assert (await raw.head())[0] == 100
        await raw.send(GOOD)
        assert (await raw.reply()).status == 200
        raw.close()
        declared = str(3 * 1024**3)
        refused = await served.say(post("/upload", b"", **EXPECT, Content_Length=declared))
        no_form = await served.say(post("/upload", b"", "text/plain", **EXPECT, Content_Length="5"))
    assert (refused.status, no_form.status) == (413, 400)
    assert left(tmp_path) == []


async def test_the_key_is_looked_at_before_a_body_is_asked_for(tmp_path: Path) -> None:
    route = Operation("POST", "/v1/upload", upload, "", ())
    config = evolve(spooling(tmp_path), server=ServerSection(api_keys=("k",), spool_dir=str(tmp_path)))
    async with serving(config, operations=(route,)) as served:
        answered = await served.say(post("/v1/upload", b"", **EXPECT, Content_Length="1000"))
    assert answered.status == 401


@pytest.mark.parametrize(
    ("prefer", "seconds", "applied"),
    [
        ([], 0.0, None),
        (["wait=30"], 30.0, "30"),
        (["WAIT = 30"], 30.0, "30"),
        (['wait="30"'], 30.0, "30"),
        (["respond-async, wait=7; x=y"], 7.0, "7"),
        (["respond-async", "wait=8"], 8.0, "8"),
        (["wait=1, wait=2"], 1.0, "1"),
        (["wait=100000"], 300.0, "300"),
        (["wait=0"], 0.0, "0"),
        (["wait=-1"], 0.0, None),
        (["wait=soon"], 0.0, None),
        (["wait"], 0.0, None),
        (["wait=1.5"], 0.0, None),
        (["wait=٣"], 0.0, None),
    ],
)
def test_patience(prefer: list[str], seconds: float, applied: str | None) -> None:
    found = queue_wish(prefer, SlotsSection())
    assert found.seconds == seconds
    assert found.headers == ((("Preference-Applied", f"wait={applied}"),) if applied else ())


def test_patience_by_setting() -> None:
    assert queue_wish([], SlotsSection(wait_s=12.0)).seconds == 12.0
    assert queue_wish(["wait=0"], SlotsSection(wait_s=12.0)).seconds == 0.0


# --- JSON ---


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"a": [1, "\xc3\xa4"]}', 200),
        (b"", 400),
        (b"[]", 400),
        (b"null", 400),
        (b"{", 400),
        (b"\xff", 400),
        (b"[" * 200_000, 400),
        (b'{"a": "' + b"x" * 999_000 + b'"}', 200),
        (b'{"a": "' + b"x" * 2_000_000 + b'"}', 413),
    ],
)
async def test_json_bodies(body: bytes, status: int) -> None:
    config = Config(server=ServerSection(max_json_bytes=1_500_000))
    async with serving(config, operations=ROUTES) as served:
        for request in (post("/json", body, "text/anything"), chunked("/json", body, 65536)):
            answered = await served.say(request)
            assert answered.status == status
            if status != 200:
                assert answered.error["kind"] == ("overflow" if status == 413 else "malformed")


def test_what_a_killed_process_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True)
    dead = tmp_path / f"{PREFIX}{int(gone.stdout)}_a"
    ours = tmp_path / f"{PREFIX}{os.getpid()}_b"
    parent = tmp_path / f"{PREFIX}{os.getppid()}_c"
    stranger = tmp_path / "notes.txt"
    for path in (dead, ours, parent, stranger):
        path.write_bytes(b"x")
    assert sweep(str(tmp_path)) == 2
    assert sorted(tmp_path.iterdir()) == sorted([parent, stranger])
