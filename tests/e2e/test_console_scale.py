"""The scale of the console's latency chart, run by node: every value has a place between the marks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import command
from tests.e2e.server import ROOT

SCRIPT = """\
import { label, scale } from "./scale.js";
const values = JSON.parse(process.argv[2]);
const { low, high, marks, share } = scale(values);
console.log(JSON.stringify({ low, high, labels: marks.map(label), shares: values.map(share) }));
"""
DAY = 86_400


@pytest.mark.parametrize(
    ("seconds", "labels"),
    [
        pytest.param([0.02, 0.5], ["10 ms", "100 ms", "1 s"], id="short"),
        pytest.param([2, 30], ["1 s", "10 s", "1 min"], id="usual"),
        pytest.param([3700, 4000], ["1 h", "6 h"], id="all above an hour"),
        pytest.param([2, 5000], ["1 s", "10 s", "1 min", "10 min", "1 h", "6 h"], id="one above"),
        pytest.param([3600, 3600], ["1 h", "6 h"], id="on a mark"),
        pytest.param([0, 0], ["1 ms", "10 ms"], id="none"),
        pytest.param([7 * DAY, 7 * DAY], ["7 d"], id="on the last mark"),
        pytest.param([8 * DAY, 30 * DAY], ["7 d"], id="above every mark"),
    ],
)
def test_every_value_is_between_the_marks(
    node_program: str, tmp_path: Path, seconds: list[float], labels: list[str]
) -> None:
    """`[3700, 4000]` once put both dots at minus infinity, and 5000 s above the topmost mark."""
    shutil.copy(ROOT / "aistack/web/static/console/scale.js", tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "script.js").write_text(SCRIPT)
    printed = command(node_program, "script.js", json.dumps(seconds), cwd=tmp_path, bound_s=60)
    found: dict[str, Any] = json.loads(printed)
    assert found["low"] < found["high"]
    assert found["labels"] == labels
    # JSON has no infinity: it would be null here
    assert all(isinstance(share, (int, float)) and 0 <= share <= 1 for share in found["shares"])
    assert found["shares"] == sorted(found["shares"])
