"""docs/internals/machine.svg: the states of a job and what leads where, from the machine's table."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from aistack.jobs.states import Phase
from aistack.jobs.table import SUBMITTED_TO, TABLE, Row

WIDTH, HEIGHT = 1120, 560
_BOX = (150, 44)
_AT = {
    Phase.WAITING: (220, 90),
    Phase.PREPARING: (220, 280),
    Phase.RUNNING: (570, 90),
    Phase.STREAMING: (920, 90),
    Phase.CANCELLED: (570, 470),
    Phase.DONE: (920, 470),
}
"""Middle of each state. The picture is laid out by hand; what it says comes from the table."""
_LABEL: dict[tuple[Phase, Phase], float] = {
    (Phase.RUNNING, Phase.CANCELLED): 0.36,
    (Phase.STREAMING, Phase.CANCELLED): 0.3,
    (Phase.RUNNING, Phase.DONE): 0.3,
    (Phase.PREPARING, Phase.STREAMING): 0.62,
    (Phase.PREPARING, Phase.DONE): 0.72,
    (Phase.WAITING, Phase.DONE): 0.13,
    (Phase.PREPARING, Phase.RUNNING): 0.27,
}
"""Where on its arrow the name of the events stands, as a share of its length; the middle otherwise."""


def edges() -> dict[tuple[Phase, Phase], list[str]]:
    """From -> to: the events that lead there, in the table's order; staying is left out."""
    found: dict[tuple[Phase, Phase], list[str]] = {}
    for source in Phase:
        for event, cell in TABLE[source].items():
            for target in cell.to if isinstance(cell, Row) else ():
                if target is not source:
                    found.setdefault((source, target), []).append(event.__name__)
    return found


def svg() -> str:
    """The picture."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12" role="img" aria-label="States of a job">',
        '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
        'orient="auto-start-reverse"><path d="M0 0 10 5 0 10z" fill="#4a5568"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="20" y="{HEIGHT - 20}" fill="#4a5568">Submitted leads to '
        f"{', '.join(phase.name for phase in SUBMITTED_TO)}. What changes nothing is left out.</text>",
        *(_arrow(pair) for pair in edges()),
        *(line for pair, events in edges().items() for line in _label(pair, events)),
        *(line for phase in Phase for line in _box(phase)),
        "</svg>",
    ]
    return "\n".join([*lines, ""])


def _ends(pair: tuple[Phase, Phase]) -> tuple[float, float, float, float]:
    """Start and end of an arrow, on the borders of its boxes; two opposite arrows stand apart."""
    (x1, y1), (x2, y2) = _AT[pair[0]], _AT[pair[1]]
    if (pair[1], pair[0]) in edges():
        apart = 14 if list(Phase).index(pair[0]) < list(Phase).index(pair[1]) else -14
        x1, x2 = (x1 + apart, x2 + apart) if x1 == x2 else (x1, x2)
        y1, y2 = (y1 + apart, y2 + apart) if y1 == y2 else (y1, y2)
    dx, dy = x2 - x1, y2 - y1
    share = min(
        (_BOX[0] / 2 / abs(dx)) if dx else 1.0,
        (_BOX[1] / 2 / abs(dy)) if dy else 1.0,
    )
    return x1 + dx * share, y1 + dy * share, x2 - dx * share, y2 - dy * share


def _arrow(pair: tuple[Phase, Phase]) -> str:
    x1, y1, x2, y2 = _ends(pair)
    return (
        f'<line x1="{x1:.0f}" y1="{y1:.0f}" x2="{x2:.0f}" y2="{y2:.0f}" stroke="#4a5568" '
        'stroke-width="1.5" marker-end="url(#head)"/>'
    )


def _label(pair: tuple[Phase, Phase], events: list[str]) -> Iterator[str]:
    x1, y1, x2, y2 = _ends(pair)
    along = _LABEL.get(pair, 0.5)
    x, y = x1 + (x2 - x1) * along, y1 + (y2 - y1) * along
    top = y - 7 * (len(events) - 1)
    for n, event in enumerate(events):
        yield (
            f'<text x="{x:.0f}" y="{top + 14 * n + 4:.0f}" text-anchor="middle" fill="#1a202c" '
            f'stroke="#ffffff" stroke-width="4" paint-order="stroke">{escape(event)}</text>'
        )


def _box(phase: Phase) -> Iterator[str]:
    x, y = _AT[phase]
    held = phase not in (Phase.WAITING, Phase.DONE)
    yield (
        f'<rect x="{x - _BOX[0] / 2:.0f}" y="{y - _BOX[1] / 2:.0f}" '
        f'width="{_BOX[0]}" height="{_BOX[1]}" '
        f'rx="8" fill="{"#bee3f8" if held else "#edf2f7"}" stroke="#2d3748"/>'
    )
    yield (
        f'<text x="{x}" y="{y + 5}" text-anchor="middle" font-size="14" font-weight="bold" '
        f'fill="#1a202c">{phase.name}</text>'
    )
    if held:
        yield (
            f'<text x="{x}" y="{y + _BOX[1] / 2 + 14:.0f}" text-anchor="middle" font-size="11" '
            'fill="#2b6cb0" stroke="#ffffff" stroke-width="4" paint-order="stroke">holds the slot</text>'
        )
