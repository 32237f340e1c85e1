"""The page in docs/internals is drawn from the table, and the table leads exactly where it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from aistack.jobs import Column
from aistack.jobs import events as ev
from aistack.jobs.picture import BEGIN, END, page_with, states_page
from aistack.jobs.table import SUBMITTED_TO, TABLE, Refusal, Row
from tests.jobs import build as b
from tests.jobs.explore import Small, explore
from tests.jobs.world import World

PAGE = Path(__file__).parents[2] / "docs" / "internals" / "machine.md"


def test_the_page_is_up_to_date() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == page_with(page), "run `aistack states` and commit the page"


def test_every_sentence_and_every_refusal_is_on_it() -> None:
    page = states_page()
    assert page.startswith(BEGIN) and page.endswith(END + "\n")
    for row in TABLE.values():
        for event, cell in row.items():
            assert f"| **{event.__name__}** |" in page
            if isinstance(cell, Refusal):
                assert cell.because in page
            elif cell.do.__name__ != "nothing":
                assert cell.says in page


def test_the_picture_has_the_edges_of_the_table() -> None:
    page = states_page()
    assert "    RUNNING --> STREAMING: Produced, OpenDue\n" in page
    assert "    CANCELLED --> DONE: Evicted, Loaded, Finished, Failed, Stopped\n" in page
    assert "RUNNING --> RUNNING" not in page


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="markers"):
        page_with("# The machine\n")


def test_rows_lead_everywhere_they_say_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search finds an event for every arrow of the picture, and no arrow that is not there."""
    seen: set[tuple[Column | None, str, Column]] = set()
    monkeypatch.setattr(World, "arrows", seen)
    one, two = b.service(b.OLD, selected=b.OLD), b.service(b.OLD, b.OLD, selected=b.OLD)
    whole, stream = b.listen("a"), b.listen("a", wire=b.STREAM)
    chat = b.chat("c", patience=1)
    worlds = (
        Small("a stream", b.service(None), (stream,), drains=True, spoils=True),
        Small("a line", b.service(b.WHISPER), (whole, chat, b.unload("z")), drains=True),
        Small("one card, a swap", one, (b.swap("s"), b.generate("g", patience=1)), drains=True),
        Small("twice in line", two, (b.generate("g", b.WHOLE), b.generate("h", b.WHOLE), b.swap("s"))),
        Small("two cards, a swap", two, (b.swap("s"), b.generate("g")), drains=True, spoils=True),
    )
    for small in worlds:
        explore(small)
    arrows = {
        (column, event.__name__, target)
        for column, row in TABLE.items()
        for event, cell in row.items()
        if isinstance(cell, Row) and event is not ev.Progressed and column is not Column.DONE
        for target in cell.to
    }
    submitted = {(None, "Submitted", target) for target in SUBMITTED_TO}
    harmless = {(Column.WAITING, "OpenDue", Column.WAITING)}
    assert seen == (arrows | submitted) - harmless
