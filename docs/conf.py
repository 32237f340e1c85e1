"""Sphinx: builds the Markdown in this folder as a site without external files.

`tox -e docs` builds it with warnings as errors; a broken link or anchor is one. The pages stay plain
Markdown that is readable without a build: what only the site needs is added here. The tables in
README.md are its navigation, so a page that is not in the index is a warning.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

project = "aistack"
author = "the authors of aistack"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "README"
exclude_patterns = ["_build"]

myst_heading_anchors = 3
nitpicky = True

html_theme = "furo"
html_title = "aistack"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False

_ROW = re.compile(r"^\| (?:\*\*(?P<caption>[^*]+)\*\*|\[[^\]]+\]\((?P<page>[\w./-]+)\.md\)) \|", re.M)
_PICTURE = re.compile(r"^```mermaid\n.*?^```$", re.M | re.S)
_SUBPAGES = ("errors/README", "reference/README")


def _toctree(caption: str, pages: list[str], *options: str) -> str:
    lines = [
        "```{toctree}",
        ":hidden:",
        *([f":caption: {caption}"] if caption else []),
        *options,
        "",
        *pages,
    ]
    return "\n".join([*lines, "```", ""])


def _navigation(index: str) -> Iterator[str]:
    """A tree for each section of the index."""
    caption: str = ""
    pages: list[str] = []
    for row in _ROW.finditer(index):
        if row["caption"] is not None:
            if pages:
                yield _toctree(caption, pages)
            caption, pages = row["caption"], []
        else:
            pages.append(row["page"])
    yield _toctree(caption, pages)


def _read(app: Any, name: str, source: list[str]) -> None:
    """What the site adds to a page: navigation, and pictures of diagrams that GitHub draws itself."""
    if name == root_doc:
        source[0] += "\n" + "\n".join(_navigation(source[0]))
    elif name in _SUBPAGES:
        source[0] += "\n" + _toctree("", ["*"], ":glob:")
    elif name == "internals/machine":
        source[0] = _PICTURE.sub("![The states of a job](machine.svg)", source[0])


def _front(app: Any, exception: Exception | None) -> None:
    """Add index.html, so that the site works from any folder."""
    if exception is None:
        shutil.copyfile(Path(app.outdir, "README.html"), Path(app.outdir, "index.html"))


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", _read)
    app.connect("build-finished", _front)
    return {"parallel_read_safe": True}
