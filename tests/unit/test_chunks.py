"""How far a step is, and how long it may still take."""

from __future__ import annotations

import pytest

from aistack.chunks import Progress


@pytest.mark.parametrize(
    ("done", "total", "share", "left_s"),
    [
        (0.0, None, None, None),
        (0.0, 8.0, 0.0, None),
        (2.0, 8.0, 0.25, 30.0),
        (8.0, 8.0, 1.0, 0.0),
        (9.0, 8.0, 1.0, 0.0),
        (-1.0, 8.0, 0.0, None),
        (5.0, 0.0, None, None),
    ],
)
def test_share_and_what_is_left(
    done: float, total: float | None, share: float | None, left_s: float | None
) -> None:
    progress = Progress(done, total, "s")
    assert (progress.share, progress.left_s(10.0)) == (share, left_s)
