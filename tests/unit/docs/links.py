"""Links of Markdown pages, and the anchors their headings make, as GitHub and MyST slug them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_FENCE = re.compile(r"^(```+|~~~+).*?^\1\s*$", re.M | re.S)
_CODE = re.compile(r"`+[^`]*`+")
_LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.M)
OUTSIDE = re.compile(r"^[a-z][a-z0-9+.-]*:")


def links(text: str) -> Iterator[str]:
    """Targets of links and pictures; what stands in code is none."""
    yield from _LINK.findall(_CODE.sub("x", _FENCE.sub("", text)))


def anchors(text: str) -> set[str]:
    """What may stand behind the # of a link to this page."""
    found: set[str] = set()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        name, n = slug, 0
        while name in found:
            n += 1
            name = f"{slug}-{n}"
        found.add(name)
    return found


def broken(page: Path, text: str) -> list[str]:
    """The links of a page that lead nowhere: no such file beside it, or no such heading in it."""
    wrong = []
    for link in links(text):
        if OUTSIDE.match(link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists():
            wrong.append(f"{link}: no such file")
        elif anchor and anchor not in anchors(
            text if target == page else target.read_text(encoding="utf-8")
        ):
            wrong.append(f"{link}: no such heading")
    return wrong
