"""The page in docs/internals is drawn from the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from aistack.jobs.picture import BEGIN, END, page_with, states_page
from aistack.jobs.table import TABLE, Refusal

PAGE = Path(__file__).parents[3] / "docs" / "internals" / "machine.md"


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
                assert cell.summary in page


def test_the_picture_has_the_edges_of_the_table() -> None:
    page = states_page()
    assert "    RUNNING --> STREAMING: Produced, OpenDue\n" in page
    assert "    CANCELLED --> DONE: Evicted, Loaded, Finished, Failed, Stopped\n" in page
    assert "RUNNING --> RUNNING" not in page


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="markers"):
        page_with("# The machine\n")
