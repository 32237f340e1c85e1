"""`python -m contrib.dev.pages`: write the generated pages of docs/, remove those that are obsolete."""

from __future__ import annotations

import json
from pathlib import Path

from contrib.dev.pages import errors, machine, parts, reference

DOCS = Path(__file__).resolve().parents[3] / "docs"
FOLDERS = ("errors", "reference")
"""Folders of docs/ that hold nothing else."""
PICTURES = {"internals/machine.svg": machine.svg, "internals/parts.svg": parts.svg}


def made() -> dict[str, str]:
    """Path below docs/ -> its text."""
    doc = json.loads((DOCS / "openapi.json").read_text(encoding="utf-8"))
    return (
        errors.pages(doc)
        | reference.pages(doc)
        | {name: picture() for name, picture in PICTURES.items()}
    )


def main() -> None:
    pages = made()
    for folder in FOLDERS:
        (DOCS / folder).mkdir(exist_ok=True)
        for path in (DOCS / folder).glob("*.md"):
            if f"{folder}/{path.name}" not in pages:
                path.unlink()
    for name, text in pages.items():
        (DOCS / name).write_text(text, encoding="utf-8")
    print(f"{len(pages)} files in docs/{', docs/'.join(FOLDERS)} and docs/internals")


if __name__ == "__main__":
    main()
