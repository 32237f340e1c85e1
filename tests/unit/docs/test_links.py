"""Every link inside the documentation leads somewhere, and every page can be found."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from tests.unit.docs.links import OUTSIDE, anchors, broken, links

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("**/*.md"), *ROOT.glob("contrib/**/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_and_anchor_leads_somewhere(page: Path) -> None:
    assert broken(page, page.read_text(encoding="utf-8")) == []


def test_every_page_can_be_reached_from_the_index() -> None:
    found: set[Path] = set()
    ahead = [DOCS / "README.md"]
    while ahead:
        page = ahead.pop()
        found.add(page)
        for link in links(page.read_text(encoding="utf-8")):
            target = (page.parent / link.partition("#")[0]).resolve()
            if not OUTSIDE.match(link) and target.suffix == ".md" and target not in found:
                ahead.append(target)
    assert {str(page.relative_to(DOCS)) for page in DOCS.glob("**/*.md") if page not in found} == set()


def test_the_sites_navigation_has_every_page() -> None:
    """docs/conf.py makes it of the tables of the index."""
    conf = runpy.run_path(str(DOCS / "conf.py"))
    trees = "\n".join(conf["_navigation"]((DOCS / "README.md").read_text(encoding="utf-8")))
    listed = re.findall(r"^([\w-]+/[\w-]+)$", trees, re.M)
    folders = [name.partition("/")[0] for name in conf["_SUBPAGES"]]
    pages = {page.relative_to(DOCS).with_suffix("").as_posix() for page in DOCS.glob("*/*.md")}
    below = {page for page in pages if page.partition("/")[0] in folders}
    assert set(listed) == pages - below | set(conf["_SUBPAGES"])
    assert len(listed) == len(set(listed))


def test_a_page_of_docs_links_to_nothing_outside_of_docs() -> None:
    """The site is built of docs/ alone."""
    outside = {
        f"{page.relative_to(ROOT)}: {link}"
        for page in DOCS.glob("**/*.md")
        for link in links(page.read_text(encoding="utf-8"))
        if not OUTSIDE.match(link)
        and not (page.parent / link.partition("#")[0]).resolve().is_relative_to(DOCS)
    }
    assert outside == set()


def test_what_the_check_finds(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# Über `Code`: a word\n## Twice\n## Twice\n```\n# none\n```\n")
    text = (
        "# Here\n[a](there.md#über-code-a-word) [b](there.md#twice-1) [c](#here) [d](https://x.org/#y)\n"
        "`[code](no.md)`\n```\n[fence](no.md)\n```\n"
        "[e](gone.md) [f](there.md#none) [![g](no.png)](there.md) [h](#there)\n"
    )
    page = tmp_path / "here.md"
    page.write_text(text)
    assert broken(page, text) == [
        "gone.md: no such file",
        "there.md#none: no such heading",
        "#there: no such heading",
    ]
    assert anchors((tmp_path / "there.md").read_text()) == {"über-code-a-word", "twice", "twice-1"}
