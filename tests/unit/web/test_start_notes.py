"""What the start-up screen tells about the internal API."""

from __future__ import annotations

from pathlib import Path

from aistack.cli.screen import start_screen
from aistack.config import Config
from aistack.config.backends import InferenceSection
from aistack.routing.notes import EngineNote
from aistack.service.serve import internal_notes
from tests.support.listening import ROOT

WEIGHTS = ROOT / "tests" / "data" / "models" / "tiny-nanochat"


def noted(api_key: str = "", root: str = "", model: str = "") -> list[EngineNote]:
    return internal_notes(Config(inference=InferenceSection(api_key=api_key, root=root, model=model)))


def test_nothing_unless_it_is_set_up() -> None:
    assert noted(api_key="k") == []


def test_weights_and_how_to_choose() -> None:
    (note,) = noted(api_key="k", root=str(WEIGHTS))
    assert {"tiny-ada", "tiny-bo-hf"} <= set(note.models)
    shown = start_screen(["127.0.0.1:1"], [note], False)
    assert "+ Internal API  tiny-ada, " in shown and "(POST /models/swap selects one)" in shown
    (note,) = noted(api_key="k", root=str(WEIGHTS), model="tiny-bo")
    assert note.remark == "tiny-bo is loaded now"


def test_what_is_missing(tmp_path: Path) -> None:
    (note,) = noted(root=str(WEIGHTS))
    assert "- Internal API  answers 503 until inference.api_key is set" in start_screen(
        ["127.0.0.1:1"], [note], False
    )
    (note,) = noted(api_key="k", root=str(tmp_path))
    assert note.models == () and str(tmp_path) in note.remark
