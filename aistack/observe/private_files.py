"""Files and folders that only their owner may read, under names that any system takes."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from typing import IO

_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


def folder_name(request_id: str) -> str:
    """A request id as the name of a folder on any system."""
    name = request_id.replace(":", "_")
    if name.endswith("."):
        name = name[:-1] + "_"
    return f"_{name}" if _RESERVED.fullmatch(name) else name


def create(path: Path) -> IO[bytes]:
    """A new file that only its owner may read; what is written goes out at once."""
    return open(path, "wb", buffering=0, opener=_private)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def write_all(file: IO[bytes], data: bytes) -> None:
    """A plain file may take less than it is given."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def new_folder(day: Path, name: str) -> Path:
    """A folder of that name, with a suffix if there is one already. Raises OSError."""
    for suffix in ("", *(f"-{n}" for n in range(2, 100)), f"-{secrets.token_hex(8)}"):
        path = day / f"{name}{suffix}"
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            continue
        return path
    raise FileExistsError(day / name)
