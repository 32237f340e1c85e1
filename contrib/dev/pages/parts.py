"""docs/internals/parts.svg: the folders of the package and what imports what, from the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from textwrap import wrap

PACKAGE = Path(__file__).resolve().parents[3] / "aistack"
LEFT_OUT = frozenset({"", "__main__", "backends", "errors"})
"""The package itself, its start, the old names kept for one release, and what is in the ground."""
GROUND = ("chunks.py", "errors/", "ids.py")
"""What every part imports: one box, without arrows."""

EVERYWHERE = frozenset({"config"})
"""Parts that nearly every other part imports: a box without arrows."""

WIDTH, HEIGHT = 1180, 1020
_BOX = (206, 74)
_ROW = 118
_AT = {
    "cli": (590, 0),
    "demo": (170, 1),
    "service": (590, 1),
    "doctor": (1010, 1),
    "web": (590, 2),
    "observe": (880, 3),
    "relays": (230, 4),
    "routing": (590, 4),
    "run": (880, 4),
    "jobs": (1010, 5),
    "engines": (400, 6),
    "wire": (1010, 6),
    "weights": (240, 7),
    "contract": (650, 7),
    "config": (705, 6),
}
"""Middle and row of each box. The picture is laid out by hand; what it says comes from the code."""


def parts() -> dict[str, str]:
    """Folder -> the first sentence of its docstring, top row first."""
    found = {}
    for path in sorted(PACKAGE.glob("*/__init__.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        found[path.parent.name] = docstring.split("\n")[0]
    return {name: text for name, text in found.items() if name not in LEFT_OUT}


def imports() -> dict[str, set[str]]:
    """Folder -> the folders that its modules import, at their top or inside a function."""
    known = parts()
    found: dict[str, set[str]] = {name: set() for name in known}
    for path in sorted(PACKAGE.glob("*/**/*.py")):
        part = path.relative_to(PACKAGE).parts[0]
        if part not in known:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                part in known
                and isinstance(node, ast.ImportFrom)
                and (node.module or "").startswith("aistack")
            ):
                names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
                targets = {name.split(".")[1] for name in names if "." in name}
                found[part] |= targets & known.keys() - {part}
    return found


def arrows() -> list[tuple[str, str]]:
    """The imports that no chain of other imports implies: few enough to be drawn."""
    graph = imports()
    reach: dict[str, set[str]] = {}

    def below(name: str) -> set[str]:
        if name not in reach:
            reach[name] = set().union(*({other} | below(other) for other in graph[name]), set())
        return reach[name]

    return [
        (name, other)
        for name in graph
        for other in sorted(graph[name] - EVERYWHERE)
        if not any(other in below(third) for third in graph[name] - {other})
    ]


def svg() -> str:
    """The picture. Raises KeyError for a part that has no place yet."""
    at = {name: (x, 20 + _ROW * row + _BOX[1] / 2) for name, (x, row) in _AT.items()}
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12" role="img" aria-label="The parts of aistack">',
        '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path d="M0 0 10 5 0 10z" fill="#718096"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        *(_arrow(at[name], at[other]) for name, other in arrows()),
        *(line for name, text in parts().items() for line in _box(name, text, at[name])),
        *_ground(),
        "</svg>",
    ]
    return "\n".join([*lines, ""])


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    """From the lower edge of one box to the upper edge of another, bent so that arrows part."""
    (x1, y1), (x2, y2) = start, end
    y1, y2 = y1 + _BOX[1] / 2, y2 - _BOX[1] / 2
    middle = (y2 - y1) * 0.5
    return (
        f'<path d="M{x1:.0f} {y1:.0f} C{x1:.0f} {y1 + middle:.0f} {x2:.0f} {y2 - middle:.0f} '
        f'{x2:.0f} {y2:.0f}" fill="none" stroke="#718096" stroke-width="1.4" marker-end="url(#head)"/>'
    )


def _box(name: str, text: str, middle: tuple[float, float]) -> Iterator[str]:
    x, y = middle
    colour = "#c6f6d5" if re.search(r"\bPure\.|\bpure function\b", text) else "#edf2f7"
    yield (
        f'<rect x="{x - _BOX[0] / 2:.0f}" y="{y - _BOX[1] / 2:.0f}" width="{_BOX[0]}" '
        f'height="{_BOX[1]}" rx="8" fill="{colour}" stroke="#2d3748"/>'
    )
    yield (
        f'<text x="{x:.0f}" y="{y - 20:.0f}" text-anchor="middle" font-size="14" font-weight="bold" '
        f'fill="#1a202c">{name}/</text>'
    )
    for n, line in enumerate(wrap(text.replace("`", ""), 36)[:3]):
        yield (
            f'<text x="{x:.0f}" y="{y - 4 + 14 * n:.0f}" text-anchor="middle" font-size="10.5" '
            f'fill="#2d3748">{escape(line)}</text>'
        )


def _ground() -> Iterator[str]:
    y, width = HEIGHT - 56, WIDTH - 120
    yield f'<rect x="60" y="{y}" width="{width}" height="30" rx="8" fill="#c6f6d5" stroke="#2d3748"/>'
    yield (
        f'<text x="{WIDTH / 2:.0f}" y="{y + 20}" text-anchor="middle" fill="#1a202c">'
        f"{', '.join(GROUND)}: the words that all parts speak</text>"
    )
    yield (
        f'<text x="60" y="{HEIGHT - 8}" fill="#4a5568">Green: pure. An arrow is an import. Left out: '
        "imports that other arrows imply, and those of config/ and the green bar, which most parts "
        "have.</text>"
    )
