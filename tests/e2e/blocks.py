"""The fenced blocks of a page of the documentation, to be run as they stand there."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from tests.e2e.conftest import command
from tests.e2e.server import ROOT, Server
from tests.e2e.talk import BOUND_S

HERE = "http://127.0.0.1:11500"
"""Where the pages say that the server listens."""

Block = tuple[str, str]


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def section(text: str, heading: str) -> list[Block]:
    """Language and text of the blocks below a heading."""
    body = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert body, heading
    return re.findall(r"^```(\w+)\n(.*?)^```$", body, re.M | re.S)


def shell(block: Block, server: Server, folder: Path) -> str:
    """What a shell block prints that is run in a folder, with the server's own address in it."""
    language, text = block
    assert language == "sh"
    assert HERE in text
    if shutil.which("curl") is None:
        command("apt-get", "update", "-qq")
        command("apt-get", "install", "-qq", "-y", "--no-install-recommends", "curl")
    return command("sh", "-ec", text.replace(HERE, server.url), cwd=folder, bound_s=2 * BOUND_S)


def events(text: str) -> list[dict[str, Any]]:
    """The server-sent events that a block printed; the mark at the end of a chat is none."""
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]
