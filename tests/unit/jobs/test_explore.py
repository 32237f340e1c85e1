"""Small worlds, searched to the end: the laws hold in every state, and every state can end."""

from __future__ import annotations

import pytest

from aistack.jobs import Op
from aistack.jobs import events as ev
from aistack.jobs import table as table_module
from aistack.jobs.states import Phase
from aistack.jobs.table import SUBMITTED_TO, TABLE, Row
from tests.unit.jobs import build as b
from tests.unit.jobs.explore import Broken, Small, explore, small_worlds
from tests.unit.jobs.world import World


@pytest.mark.parametrize("small", small_worlds(), ids=lambda small: small.name)
def test_no_law_is_broken(small: Small) -> None:
    found = explore(small)
    assert found.complete
    assert found.states > 50


def test_every_op_is_in_a_world() -> None:
    ops = {job.op for small in small_worlds() for job in small.jobs}
    assert ops == set(Op)
    assert any(len(small.snapshot.slots) > 1 for small in small_worlds())


def test_a_slot_that_is_never_given_back_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search finds what it is for: a row that forgets its work."""
    lazy = {**TABLE[Phase.CANCELLED], ev.Stopped: Row(table_module.nothing, (Phase.CANCELLED,))}
    monkeypatch.setitem(TABLE, Phase.CANCELLED, lazy)
    with pytest.raises(Broken, match="exactly one step") as broken:
        explore(Small("one", b.service(b.WHISPER), (b.listen("a"),)))
    assert broken.value.trace == (("submit", "a"), ("gone", "a"), ("stopped", "a"))


def test_a_world_that_cannot_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue whose timer does nothing: reports may still end it, so only the laws of waiting see it."""
    deaf = {**TABLE[Phase.WAITING], ev.WaitExpired: Row(table_module.nothing, (Phase.WAITING,))}
    monkeypatch.setitem(TABLE, Phase.WAITING, deaf)
    jobs = (b.listen("a"), b.listen("p", max_wait_s=1))
    with pytest.raises(Broken, match="waits without end"):
        explore(Small("one waits", b.service(b.WHISPER), jobs))


def test_rows_lead_everywhere_they_say_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search finds an event for every arrow of the picture, and no arrow that is not there."""
    seen: set[tuple[Phase | None, str, Phase]] = set()
    monkeypatch.setattr(World, "arrows", seen)
    one, two = b.service(b.OLD, selected=b.OLD), b.service(b.OLD, b.OLD, selected=b.OLD)
    whole, stream = b.listen("a"), b.listen("a", wire=b.STREAM)
    chat = b.chat("c", max_wait_s=1)
    worlds = (
        Small("a stream", b.service(None), (stream,), drains=True, spoils=True),
        Small("a queue", b.service(b.WHISPER), (whole, chat, b.unload("z")), drains=True),
        Small("one card, a swap", one, (b.swap("s"), b.generate("g", max_wait_s=1)), drains=True),
        Small("queued twice", two, (b.generate("g", b.WHOLE), b.generate("h", b.WHOLE), b.swap("s"))),
        Small("two cards, a swap", two, (b.swap("s"), b.generate("g")), drains=True, spoils=True),
    )
    for small in worlds:
        explore(small)
    arrows = {
        (phase, event.__name__, target)
        for phase, row in TABLE.items()
        for event, cell in row.items()
        if isinstance(cell, Row) and event is not ev.Progressed and phase is not Phase.DONE
        for target in cell.to
    }
    submitted = {(None, "Submitted", target) for target in SUBMITTED_TO}
    harmless = {(Phase.WAITING, "OpenDue", Phase.WAITING)}
    assert seen == (arrows | submitted) - harmless
