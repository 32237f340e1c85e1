"""Work on the loop over what clients and upstreams send grows with its size, and no faster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from aistack.chunks import Segment, Vram
from aistack.contract.forms import form
from aistack.contract.public import FilePart, TranscriptionForm
from aistack.contract.relay_request import media_type, relay_request, with_member
from aistack.errors import BackendFault
from aistack.jobs.events import Produced
from aistack.jobs.machine import handle
from aistack.jobs.model import Job, Route, Slot, Snapshot
from aistack.jobs.states import Op, State, Step
from aistack.observe import redact
from aistack.relays.ollama import means_unload, native
from aistack.relays.sse_end import CHAT_DONE, CHAT_FINISH, SPEECH_DONE, StreamEnd
from aistack.run.frames import Unpacker, pack
from aistack.web.upload.charsets import decoder
from aistack.web.upload.disposition import disposition
from aistack.wire import subtitles
from aistack.wire.transcript import WholeTranscript
from tests.support.growth import LINEAR, growth

Case = tuple[Callable[[int], Any], Callable[[Any], object], int]


def text_in(charset: str) -> Callable[[bytes], object]:
    def work(data: bytes) -> object:
        decode = decoder(charset)
        assert decode is not None
        return decode(data)

    return work


def streamed(pieces: list[bytes]) -> None:
    end = StreamEnd(CHAT_FINISH, CHAT_DONE)
    for piece in pieces:
        end.feed(piece)


def kept(count: int) -> None:
    """A whole answer out of so many chunks, up to the wire."""
    job = Job(
        id="j",
        request_id="r",
        op=Op.TRANSCRIBE,
        route=Route("whisper", "m", Vram.OWN),
        request=None,
        wire=WholeTranscript("json", "m"),
        state=State.RUNNING,
        slot="cpu",
        step=Step.RUN,
    )
    snapshot = Snapshot((Slot("cpu", "j"),), {"j": job})
    for _ in range(count):
        snapshot = handle(snapshot, Produced("j", Segment(0, 1, "a"))).snapshot
    parts = snapshot.jobs["j"].parts
    assert parts is not None and len(parts.in_order()) == count


def unpacked(data: bytes) -> None:
    unpacker = Unpacker()
    for start in range(0, len(data), 1024):
        for _ in unpacker.feed(data[start : start + 1024]):
            pass


def asked(fields: dict[str, str]) -> None:
    file = FilePart("a")
    with suppress(BackendFault):
        form(TranscriptionForm, {"file": [file], **{name: [text] for name, text in fields.items()}})


CASES: dict[str, Case] = {
    "utf-8": (lambda n: "aé€🎧".encode() * n, text_in("utf-8"), 2_000),
    "utf-16": (lambda n: "aé€🎧".encode("utf-16") * n, text_in("utf-16"), 2_000),
    "latin-1": (lambda n: b"\xe9a" * n, text_in("latin-1"), 50_000),
    "a charset's name": (lambda n: "utf-" * n, decoder, 20_000),
    "escapes in a part's header": (lambda n: 'f; name="' + '\\"' * n + '"', disposition, 20_000),
    "an open quote": (lambda n: 'f; name="' + "\\a" * n, disposition, 20_000),
    "blanks in a part's header": (lambda n: "f;" + " " * n + "x", disposition, 20_000),
    "marks in a part's header": (lambda n: "f" + ";" * n, disposition, 20_000),
    "percents in a part's header": (lambda n: "f; name*=utf-8''" + "%41" * n, disposition, 5_000),
    "a content type": (lambda n: "a" + ';a=";"' * n, media_type, 50_000),
    "keep_alive of zeros": (lambda n: "0" * n + "x", means_unload, 20_000),
    "keep_alive of zeros with units": (lambda n: "0m.0s" * n + "x", means_unload, 5_000),
    "keep_alive of digits": (lambda n: "1" * n, native, 50_000),
    "dashes in a subtitle": (
        lambda n: [Segment(0, 1, "-" * n)],
        lambda segments: subtitles.srt(segments),
        1_000,
    ),
    "an event in small pieces": (lambda n: [b"x" * 8] * n, streamed, 3_000),
    "events while the end is held": (
        lambda n: [b'data: {"finish_reason": "stop"}\n\n'] + [b"data: {}\n\n"] * n,
        streamed,
        10_000,
    ),
    "a finish that does not come": (lambda n: b'"finish_reason"' + b" " * n, CHAT_FINISH.search, 50_000),
    "an end that does not come": (lambda n: b"\ndata: [DONE]" + b" " * n, CHAT_DONE.search, 50_000),
    "lines that are no end": (lambda n: b"\n" * n, CHAT_DONE.search, 50_000),
    "a done that does not come": (lambda n: b'"type"' + b" " * n, SPEECH_DONE.search, 50_000),
    "chunks kept for a whole answer": (lambda n: n, kept, 4_000),
    "frames in pieces": (lambda n: pack({"a": "x" * 100}) * n, unpacked, 2_000),
    "a list in a form": (lambda n: {"timestamp_granularities": "word," * n}, asked, 2_000),
    "a number in a form": (lambda n: {"temperature": "9" * n}, asked, 50_000),
    "headers of one name": (lambda n: [("a", "x" * 100)] * n, redact.headers, 2_000),
    "a path to pass on": (
        lambda n: "/v1/audio/" + "a/%41" * n,
        lambda path: relay_request("POST", path).takes_slot,
        5_000,
    ),
    "a body with one more member": (
        lambda n: b"{" + b" " * n + b"}",
        lambda body: with_member(body, "keep_alive", 1),
        50_000,
    ),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("case", CASES)
def test_it_grows_with_its_size(case: str) -> None:
    make, work, size = CASES[case]
    assert growth(make, work, size) < LINEAR


def test_the_measure_tells_a_square() -> None:
    """Else the tests above could not fail."""

    def every_pair(count: int) -> int:
        return sum(1 for _ in pairs(count))

    def pairs(count: int) -> Iterator[tuple[int, int]]:
        return ((a, b) for a in range(count) for b in range(count))

    assert growth(lambda n: n, every_pair, 60) > LINEAR
