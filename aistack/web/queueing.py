"""How long callers are queued, and the courtesy of refusing a large body before it is sent.

Admission itself is the machine's; what is refused here would have met the same 503 after the
upload. Nothing is refused early that could wait, or that only housekeeping is in the way of.
"""

from __future__ import annotations

import re

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11
from attrs import frozen

from aistack import errors
from aistack.config import SlotsSection
from aistack.config.units import MiB
from aistack.errors import Fault
from aistack.jobs.busy import busy_fault
from aistack.jobs.model import Snapshot
from aistack.jobs.states import HOUSEKEEPING, Mode, Op

LARGE = 8 * MiB
_WAIT = re.compile(r'wait\s*=\s*"?([0-9]{1,9})"?', re.IGNORECASE)


@frozen
class QueueWish:
    """How long a caller is willing to be queued: `seconds`, and the headers that confirm it."""

    seconds: float
    headers: tuple[tuple[str, str], ...] = ()


NOW = QueueWish(0.0)
"""The wish of a caller who is not queued at all."""


def queue_wish(prefer: list[str], slots: SlotsSection) -> QueueWish:
    """From the values of all `Prefer` headers (RFC 7240); the first valid `wait` counts.

    Without one the setting applies. The wish is capped, and the answer says to what.
    """
    for value in prefer:
        for preference in value.split(","):
            found = _WAIT.fullmatch(preference.split(";")[0].strip())
            if found:
                seconds = int(min(int(found[1]), slots.wait_max_s))
                return QueueWish(float(seconds), (("Preference-Applied", f"wait={seconds}"),))
    return QueueWish(min(slots.wait_s, slots.wait_max_s))


def expects_continue(request: web.BaseRequest) -> bool:
    """Whether the client holds its body back until it gets the word to go on."""
    return (
        request.version >= HttpVersion11
        and request.headers.get(hdrs.EXPECT, "").strip().lower() == "100-continue"
    )


async def hold_continue(request: web.Request) -> None:
    """The routes' expect handler: sends nothing yet. `begin_body` does, once nothing forbids it.

    aiohttp calls this outside the middlewares, where neither keys nor limits have been looked at.
    """


async def begin_body(request: web.Request) -> None:
    """Tell a client that asked that it may send its body now."""
    if expects_continue(request) and request.can_read_body:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # These bytes are not part of the response that aiohttp counts.
        request.writer.output_size = 0


def unread_refusal(snapshot: Snapshot, op: Op, at: float) -> Fault | None:
    """The fault that a job of this kind would certainly meet now if its caller did not wait; if any."""
    if snapshot.mode is Mode.DRAINING:
        return errors.shutting_down()
    for slot in snapshot.slots:
        holder = snapshot.jobs.get(slot.holder) if slot.holder is not None else None
        if holder is None or holder.op in HOUSEKEEPING:
            return None
    return busy_fault(snapshot, op, None, at)


def refuse_unread(
    request: web.BaseRequest, snapshot: Snapshot, op: Op, wish: QueueWish, at: float
) -> None:
    """Raise BackendFault for a large or held back body if no slot is free and its caller does not wait.

    `at` is the loop's time, the machine's clock.
    """
    large = (request.content_length or 0) > LARGE or expects_continue(request)
    if not large or wish.seconds > 0:
        return
    fault = unread_refusal(snapshot, op, at)
    if fault is not None:
        raise errors.BackendFault(fault)
