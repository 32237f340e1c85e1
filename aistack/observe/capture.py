"""Payload capture: what a request and its answer were, kept on a disk for a while. Off by default.

One thread writes, so that no disk can hold the loop up. What waits for it is bounded in bytes; a
capture that does not fit into the bound, or that the disk refuses, is dropped as a whole, counted,
and logged once. `<root>/<UTC day>/<request id>/` holds `meta.json`, `req.bin`, `req.type`, `resp.bin`;
folders are 0700 and files 0600, for they hold user text.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, TypeVar

import structlog
from attrs import frozen

from aistack.observe import sweep
from aistack.observe.background_writer import BackgroundWriter
from aistack.observe.private_files import create, folder_name, new_folder, write_all
from aistack.observe.trouble import Trouble

log = structlog.get_logger("aistack.capture")
T = TypeVar("T")

WAITING_MAX = 64 * 1024**2
"""Bytes that may wait to be written."""
ITEM = 256
"""Bytes counted for a piece besides its own."""
BLOCK = 1024**2
ROOM_SHARE = 0.95
"""A sweep at the cap keeps this share of it: else every further capture would scan all of them."""
SWEEP_S = 1800.0
CLOSE_S = 5.0


@frozen
class Usage:
    """What is on the disk. `earliest` is Unix seconds of the oldest capture, None if there is none."""

    bytes: int = 0
    count: int = 0
    earliest: float | None = None


class Capture:
    """One request being captured. Its methods are called on the loop, never wait and never raise."""

    def __init__(self, store: Store, request_id: str) -> None:
        self._store = store
        self._request_id = request_id
        self._day = datetime.now(UTC).date().isoformat()
        self._left = store.response_max
        self._over = False
        self.resp_bytes = 0
        # These belong to the writing thread:
        self.path: Path | None = None
        self.response: IO[bytes] | None = None
        self.files: dict[str, int] = {}
        self.dropped = False

    @property
    def truncated(self) -> bool:
        return self.resp_bytes > self._store.response_max

    def request(self, body: bytes, content_type: str) -> None:
        """The body as it came."""
        self._store.put(len(body), lambda: self._write_request(body, content_type), self)

    def upload(self, path: str, content_type: str) -> None:
        """The uploaded file. It is opened here: its owner may remove it before the thread has read."""
        try:
            file = open(path, "rb")  # noqa: SIM115 - closed by the thread, after the file may be gone
        except OSError:
            return
        self._store.put(0, lambda: self._copy_upload(file, content_type), self, file.close)

    def answered(self, piece: bytes | bytearray | memoryview) -> None:
        """A piece of the answer; beyond the cap it is only counted."""
        if self._over:
            return
        size = len(piece)
        self.resp_bytes += size
        if self._left > 0:
            kept = bytes(piece[: self._left])
            self._left -= len(kept)
            self._store.put(len(kept), lambda: self._write_response(kept), self)

    def finish(self, meta: Mapping[str, Any]) -> None:
        """The end: what is known about the request."""
        self._over = True
        known = {
            **meta,
            "request_id": self._request_id,
            "captured_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "resp_bytes": self.resp_bytes,
            "resp_truncated": self.truncated,
            "resp_truncate_limit_bytes": self._store.response_max,
        }
        self._store.put(0, lambda: self._end(known), self, needed=True)

    # --- in the thread ---------------------------------------------------------------------------------

    def _folder(self) -> Path:
        if self.path is None:
            name = folder_name(self._request_id)
            day = self._store.root / self._day
            try:
                self.path = new_folder(day, name)
            except FileNotFoundError:  # the first of its day
                self._store.root.mkdir(parents=True, exist_ok=True, mode=0o700)
                day.mkdir(exist_ok=True, mode=0o700)
                self.path = new_folder(day, name)
        return self.path

    def _write(self, name: str, data: bytes) -> None:
        self.files[name] = len(data)
        with create(self._folder() / name) as file:
            write_all(file, data)

    def _write_request(self, body: bytes, content_type: str) -> None:
        self._write("req.bin", body)
        self._write("req.type", content_type.encode("utf-8", "replace"))

    def _copy_upload(self, source: IO[bytes], content_type: str) -> None:
        with create(self._folder() / "req.bin") as file:
            size = 0
            while block := source.read(BLOCK):
                write_all(file, block)
                size += len(block)
        self.files["req.bin"] = size
        self._write("req.type", content_type.encode("utf-8", "replace"))

    def _write_response(self, piece: bytes) -> None:
        if self.response is None:
            self.response = create(self._folder() / "resp.bin")
        write_all(self.response, piece)
        self.files["resp.bin"] = self.files.get("resp.bin", 0) + len(piece)

    def _end(self, meta: Mapping[str, Any]) -> None:
        if self.response is not None:
            self.response.close()
        for name in ("req.bin", "resp.bin"):
            if name not in self.files:
                self._write(name, b"")
        text = json.dumps(meta, ensure_ascii=False, indent=1)
        self._write("meta.json", text.encode("utf-8", "backslashreplace"))
        self._store.kept(sum(self.files.values()))

    def give_up(self) -> None:
        """Leave nothing behind that is not whole."""
        self.dropped = True
        if self.response is not None:
            with contextlib.suppress(OSError):
                self.response.close()
        if self.path is not None:
            sweep.remove([sweep.CaptureFolder(self.path, 0, 0.0)])


Work = Callable[[], None]


@frozen
class _Item:
    """Work for the thread, about a capture or about all of them; `after` is done in any case."""

    work: Work
    capture: Capture | None = None
    size: int = 0
    after: Work | None = None


class Store:
    """All captures below `root`, and the thread that writes them.

    `put` and `begin` are called on the loop. What waits is counted in bytes, and by two counters of
    one writer each: what the loop has handed over, and what the thread is done with.
    """

    def __init__(
        self,
        root: Path,
        max_bytes: int,
        max_days: int,
        response_max: int,
        waiting_max: int = WAITING_MAX,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.root = root
        self.max_bytes = max_bytes
        self.max_days = max_days
        self.response_max = response_max
        self.usage = Usage()
        self._waiting_max = waiting_max
        self._handed_over = 0
        self._done = 0
        self._clock = clock
        self._trouble = Trouble(log.warning)
        self._writer = BackgroundWriter(
            "aistack-capture", self._work, chore=self._sweep, chore_s=SWEEP_S
        )

    @property
    def dropped(self) -> int:
        """Captures lost to a slow or full disk since the start."""
        return self._writer.lost

    def start(self) -> None:
        """Begin to sweep: now, and every half hour."""
        self._writer.start()

    def close(self) -> None:
        """Write what waits, `CLOSE_S` at most, and end the thread."""
        self._writer.close(CLOSE_S)

    def begin(self, request_id: str) -> Capture:
        """A request to capture; nothing is written yet."""
        return Capture(self, request_id)

    def put(
        self,
        size: int,
        work: Work,
        capture: Capture,
        after: Work | None = None,
        needed: bool = False,
    ) -> None:
        """Hand work over; `after` follows it whatever became of it. Beyond the bound the whole capture
        is dropped; `needed` work, its end, comes through always, to clean up."""
        size += ITEM
        waiting = self._handed_over - self._done
        if not needed and not capture.dropped and waiting + size > self._waiting_max:
            capture.dropped = True
            self._drop("the disk is too slow")
        if needed or not capture.dropped:
            self._handed_over += size
            if self._writer.put(_Item(work, capture, size, after)):
                return
            capture.dropped = True  # all is over
        if after is not None:
            after()

    def clear(self) -> Future[int]:
        """Remove every capture; how many there were, when it is done."""

        def work() -> int:
            gone = sweep.remove(sweep.captures(self.root))
            self._count(sweep.captures(self.root))
            return gone

        return self._promised(work)

    def settled(self) -> Future[None]:
        """Done when all that was handed over so far is written or dropped."""
        return self._promised(lambda: None)

    def _promised(self, work: Callable[[], T]) -> Future[T]:
        done: Future[T] = Future()
        self._writer.put(_Item(lambda: done.set_result(work())))
        return done

    # --- the thread ----------------------------------------------------------------------------------

    def _work(self, items: list[_Item]) -> None:
        for item in items:
            try:
                self._do(item)
            except Exception:
                log.exception("capture failed")
            self._done += item.size

    def _do(self, item: _Item) -> None:
        capture = item.capture
        if capture is None:
            item.work()
            return
        try:
            if capture.dropped:
                capture.give_up()
            else:
                item.work()
        except OSError as exc:
            cleared = capture.path is not None and not capture.path.exists()
            capture.give_up()
            if not cleared:
                self._drop(exc.strerror or type(exc).__name__)
        finally:
            if item.after is not None:
                item.after()

    def _drop(self, reason: str) -> None:
        """A capture is lost. From both threads."""
        self._writer.lose(1)
        self._trouble.met("captures cannot be written", folder=str(self.root), reason=reason)

    def kept(self, size: int) -> None:
        """A capture is whole: count it, and make room at once if it was one too many."""
        self._trouble.over("captures are written again", dropped=self.dropped)
        known = self.usage
        earliest = self._clock() if known.earliest is None else known.earliest
        self.usage = Usage(known.bytes + size, known.count + 1, earliest)
        if self.usage.bytes > self.max_bytes:
            self._sweep(ROOM_SHARE)

    def _sweep(self, share: float = 1.0) -> None:
        """Keep to the limits; to a `share` of the cap."""
        found = sweep.captures(self.root)
        most = int(self.max_bytes * share)
        going = sweep.surplus(found, self._clock(), self.max_days, most)
        if going:
            sweep.remove(going)
            log.info("captures swept", removed=len(going))
            found = sweep.captures(self.root)
        self._count(found)

    def _count(self, found: list[sweep.CaptureFolder]) -> None:
        total = sum(capture.bytes for capture in found)
        self.usage = Usage(total, len(found), found[0].at if found else None)
