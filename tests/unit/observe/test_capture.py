"""The captures' thread and the sweep: bounds, names, a disk that refuses, and what is never touched."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from aistack.observe import capture as module
from aistack.observe import private_files, redact, sweep
from aistack.observe.capture import ITEM, Capture, Store
from aistack.observe.private_files import folder_name

BOUND_S = 30.0
MIB = 1024**2
Make = Callable[..., Store]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Make]:
    made: list[Store] = []

    def make(**settings: Any) -> Store:
        known = {"max_bytes": 100 * MIB, "max_days": 7, "response_max": MIB} | settings
        made.append(Store(tmp_path / "captures", **known))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.close()


def keep(store: Store, name: str, answer: bytes = b"answer", body: bytes = b"body") -> None:
    """One whole capture, on the disk when this returns."""
    capture = store.begin(name)
    capture.request(body, "text/plain")
    capture.answered(answer)
    capture.finish({"status": 200})
    store.settled().result(BOUND_S)


def folders(store: Store) -> list[str]:
    return sorted(path.name for path in store.root.glob("*/*"))


def test_a219_the_cap_is_kept_to_the_byte(store: Make) -> None:
    kept = store(response_max=5)
    capture = kept.begin("r")
    for piece in (b"abc", memoryview(b"def"), bytearray(b"ghi")):
        capture.answered(piece)
    capture.finish({})
    kept.settled().result(BOUND_S)
    (folder,) = kept.root.glob("*/*")
    assert (folder / "resp.bin").read_bytes() == b"abcde"
    meta = json.loads((folder / "meta.json").read_text())
    assert (meta["resp_bytes"], meta["resp_truncated"]) == (9, True)
    assert (folder / "req.bin").read_bytes() == b""


def test_an_upload_survives_its_removal(store: Make, tmp_path: Path) -> None:
    """The spool file is removed when its job is over, which may be before the thread has read it."""
    kept = store()
    upload = tmp_path / "spool"
    upload.write_bytes(b"sound" * 1000)
    capture = kept.begin("r")
    capture.upload(str(upload), "audio/wav")
    upload.unlink()
    capture.finish({})
    kept.settled().result(BOUND_S)
    (folder,) = kept.root.glob("*/*")
    assert (folder / "req.bin").read_bytes() == b"sound" * 1000


def test_what_is_written_after_the_end_is_not_seen(store: Make) -> None:
    kept = store()
    capture = kept.begin("r")
    capture.finish({})
    capture.answered(b"late")
    kept.settled().result(BOUND_S)
    (folder,) = kept.root.glob("*/*")
    assert (folder / "resp.bin").read_bytes() == b""


def test_a_slow_disk_drops_captures_not_requests(store: Make) -> None:
    kept = store(waiting_max=10_000 + 2 * ITEM)
    gate, entered = threading.Event(), threading.Event()

    def stuck() -> None:
        entered.set()
        gate.wait(BOUND_S)

    kept.put(0, stuck, kept.begin("stuck"))
    assert entered.wait(BOUND_S)
    with capture_logs() as told:
        first, second = kept.begin("first"), kept.begin("second")
        first.answered(b"x" * 9_000)
        second.answered(b"x" * 9_000)
        second.answered(b"x")
        for capture in (first, second):
            capture.finish({})
        gate.set()
        kept.settled().result(BOUND_S)
    assert folders(kept) == ["first"]
    assert kept.dropped == 1
    assert told[0]["reason"] == "the disk is too slow"


def test_a223_a_full_disk_leaves_no_half_capture(store: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = store()
    keep(kept, "before")
    create = private_files.create

    def full(path: Path) -> IO[bytes]:
        return create(path) if path.name == "req.bin" else open("/dev/full", "wb", buffering=0)

    with capture_logs() as told:
        with monkeypatch.context() as patch:
            patch.setattr(module, "create", full)
            keep(kept, "full-1", b"x" * MIB)
            keep(kept, "full-2")
        assert folders(kept) == ["before"]
        keep(kept, "after")
    assert folders(kept) == ["after", "before"]
    assert kept.dropped == 2
    assert [(entry["event"], entry.get("reason")) for entry in told] == [
        ("captures cannot be written", "No space left on device"),
        ("captures are written again", None),
    ]


def test_a221_clear_takes_what_is_being_written_along(store: Make) -> None:
    kept = store()
    keep(kept, "whole")
    capture = kept.begin("half")
    capture.request(b"x", "")
    with capture_logs() as told:
        assert kept.clear().result(BOUND_S) == 2
        capture.answered(b"y")
        capture.finish({})
        kept.settled().result(BOUND_S)
    assert (folders(kept), kept.usage.count, kept.dropped) == ([], 0, 0)
    assert told == []


def test_a220_the_start_sweeps_what_an_earlier_run_left(store: Make) -> None:
    kept = store()
    keep(kept, "old")
    keep(kept, "new")
    (old,) = kept.root.glob("*/old")
    for path in old.iterdir():
        os.utime(path, (0, 0))
    kept.close()
    again = store()
    again.settled().result(BOUND_S)
    assert folders(again) == ["new"]
    assert again.usage.count == 1


def test_at_the_cap_not_every_capture_sweeps(store: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = store(max_bytes=100_000)
    looked: list[Path] = []
    captures = sweep.captures

    def counted(root: Path) -> list[sweep.CaptureFolder]:
        looked.append(root)
        return captures(root)

    monkeypatch.setattr(sweep, "captures", counted)
    for number in range(200):
        keep(kept, str(number), b"x" * 700)
    assert kept.usage.bytes <= 100_000
    assert len(looked) < 200 / 2


def test_nothing_is_made_where_there_is_nothing(store: Make) -> None:
    kept = store()
    kept.settled().result(BOUND_S)
    assert not kept.root.exists()


@pytest.mark.parametrize(
    ("request_id", "name"),
    [("a:b", "a_b"), ("con", "_con"), ("NUL.txt", "_NUL.txt"), ("a.", "a_"), ("console", "console")],
)
def test_names_for_any_system(request_id: str, name: str) -> None:
    assert folder_name(request_id) == name


def test_a_repeated_id_gets_a_suffix_however_often(store: Make) -> None:
    kept = store()
    for _ in range(101):
        keep(kept, "same")
    assert len(folders(kept)) == 101


# --- the sweep ----------------------------------------------------------------------------------------

SIZES = st.lists(st.tuples(st.integers(0, 100), st.floats(0, 20 * sweep.DAY_S)), max_size=12)


@given(SIZES, st.integers(0, 14), st.integers(0, 400))
def test_a220_age_first_then_the_oldest(sizes: list[tuple[int, float]], days: int, most: int) -> None:
    now = 20 * sweep.DAY_S
    kept = sorted(
        (sweep.CaptureFolder(Path(f"/c/d/{n}"), size, at) for n, (size, at) in enumerate(sizes)),
        key=lambda capture: (capture.at, capture.path),
    )
    going = sweep.surplus(kept, now, days, most)
    left = [capture for capture in kept if capture not in going]
    assert going == kept[: len(going)], "the oldest go, and only they"
    assert sum(capture.bytes for capture in left) <= most
    assert not days or all(capture.at >= now - days * sweep.DAY_S for capture in left)
    if going:
        last = going[-1]
        too_old = bool(days) and last.at < now - days * sweep.DAY_S
        too_much = last.bytes + sum(capture.bytes for capture in left) > most
        assert too_old or too_much, "no more than has to"


def test_only_captures_are_touched(tmp_path: Path, store: Make) -> None:
    kept = store(max_bytes=0)
    day = kept.root / "2020-01-01"
    others = [
        kept.root / "photos" / "a" / "req.bin",
        day / "mine" / "thesis.txt",
        day / "req.bin",
        kept.root / "2020-01-01.bak" / "x" / "meta.json",
    ]
    for path in others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("dear")
    (day / "linked").symlink_to(kept.root / "photos" / "a")
    keep(kept, "gone")
    kept.clear().result(BOUND_S)
    assert all(path.read_text() == "dear" for path in others)
    assert not list(kept.root.glob("*/gone"))


# --- redaction ----------------------------------------------------------------------------------------


def test_a218_secrets_are_masked_however_they_are_written() -> None:
    pairs = [(name.title(), "s3cret") for name in redact.SECRET] + [("Via", "a"), ("Via", "b")]
    kept = redact.headers(pairs)
    assert kept.pop("Via") == "a, b"
    assert set(kept.values()) == {redact.MASK}
    assert redact.headers([("Set-Cookie", "a"), ("Set-Cookie", "b")])["Set-Cookie"] == "***, ***"


def test_a_capture_of_a_vanished_upload_is_still_one(store: Make) -> None:
    kept = store()
    capture: Capture = kept.begin("r")
    capture.upload("/nowhere/at/all", "")
    capture.finish({})
    kept.settled().result(BOUND_S)
    assert folders(kept) == ["r"]
