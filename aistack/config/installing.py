"""What to type to install a library: one command that works where it is read.

Libraries are named with the versions that our own metadata admits, and never by our own name: on the
package index that is another project. `pip` alone would be the first one on the path, for any Python.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

if TYPE_CHECKING:
    from packaging.requirements import Requirement

DISTRIBUTION = "aistack-gateway"
"""What pip calls us; the import, the command and the configuration are `aistack`."""

PIP = "pip install"

WINDOWS = os.name == "nt"

_TREE = Path(__file__).resolve().parents[2]
"""The source tree, where this is one; else the folder that libraries are installed in."""


@functools.cache
def libraries(*names: str, extra: str = "") -> str:
    """`pip install` with the libraries named, or with all of one of our extras, each with the versions
    that are admitted here."""
    return " ".join([PIP, *map(_quoted, _named(names) if names else _of(extra))])


def _named(names: tuple[str, ...]) -> list[str]:
    from packaging.utils import canonicalize_name

    told = {canonicalize_name(each.name): _spelled(each) for each in _ours()}
    return [told.get(canonicalize_name(name), name) for name in names]


def _of(extra: str) -> list[str]:
    """What an extra adds. A source tree that was never installed has no metadata: then by its path."""
    found = [
        _spelled(each)
        for each in _ours()
        if each.marker is not None
        and each.marker.evaluate({"extra": extra})
        and not each.marker.evaluate({"extra": ""})
    ]
    return found or [f"{_TREE}[{extra}]"]


def _ours() -> list[Requirement]:
    """What our metadata asks for, with and without extras; nothing if there is none."""
    from packaging.requirements import Requirement

    try:
        return [Requirement(each) for each in metadata.requires(DISTRIBUTION) or ()]
    except metadata.PackageNotFoundError:
        return []


def _spelled(of: Requirement) -> str:
    """Name, extras and versions; what decided whether it is wanted here is left out."""
    extras = f"[{','.join(sorted(of.extras))}]" if of.extras else ""
    return f"{of.name}{extras}{of.specifier}"


def here(command: str, python: str = "", again: bool = False) -> str:
    """`pip install ...` as it works for one interpreter, this one unless another is named.

    `again`: what is there already is replaced. Any other command is left as it is.
    """
    if not command.startswith(PIP + " "):
        return command
    forced = " --force-reinstall" if again else ""
    interpreter = _quoted(python or sys.executable or "python")
    return f"{interpreter} -m {PIP}{forced}{command.removeprefix(PIP)}"


def ourselves(python: str) -> str:
    """The command that gives another interpreter the aistack of this one, from the folder or file that
    it was installed from. Empty if that is gone or unknown."""
    source = _TREE if (_TREE / "pyproject.toml").is_file() else _installed_from()
    return here(f"{PIP} {_quoted(str(source))}", python) if source is not None else ""


def _installed_from() -> Path | None:
    """What pip was given, by the record that it keeps (PEP 610), if it is still there."""
    try:
        told = metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
        url = urlsplit(json.loads(told or "{}").get("url", ""))
    except (metadata.PackageNotFoundError, ValueError):
        return None
    path = Path(url2pathname(url.path))
    return path if url.scheme == "file" and path.exists() else None


def _quoted(word: str) -> str:
    """One word of a command line, for the shell of this system."""
    if not WINDOWS:
        return shlex.quote(word)
    return word if re.fullmatch(r"[\w.:\\/-]+", word) else f'"{word}"'
