"""Weights that several settings name: all of them must be there before `auto` counts on an engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from aistack.config import Config
from aistack.config.backends import SensevoiceSection
from aistack.routing.inventory import Inventory

pytestmark = pytest.mark.both_loops

SENSEVOICE = "iic/SenseVoiceSmall"
ELSEWHERE = "/opt/elsewhere/bin/python"
"""An interpreter of its own: whether FunASR is installed here does not matter."""


@pytest.mark.parametrize(
    ("vad", "there"), [("vad", True), ("", False), ("missing", False)], ids=["both", "one", "wrong"]
)
async def test_a88_configured_directories_are_weights_on_disk(
    tmp_path: Path, vad: str, there: bool
) -> None:
    for name in ("model", "vad"):
        (tmp_path / name).mkdir()
    section = SensevoiceSection(
        weights=str(tmp_path / "model"), vad=str(tmp_path / vad) if vad else "", python=ELSEWHERE
    )
    stock = Inventory(
        Config(sensevoice=section),
        engines={"sensevoice": "aistack.engines.sensevoice:SenseVoice"},
        environ={"HF_HOME": str(tmp_path / "hf"), "MODELSCOPE_CACHE": str(tmp_path / "ms")},
    )
    assert (SENSEVOICE in (await stock.facts()).on_disk) is there
