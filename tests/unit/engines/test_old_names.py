"""Names that engines in packages of their own were written against work for one more release."""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import EntryPoint

import pytest

from aistack.engines import base, segments
from aistack.routing import discovery


def test_the_old_module_has_the_new_ones_names_and_says_so() -> None:
    sys.modules.pop("aistack.backends.base", None)
    with pytest.warns(DeprecationWarning, match=r"is now aistack\.engines\.base"):
        old = importlib.import_module("aistack.backends.base")
    assert old.ModelCard is base.OfferedModel
    moved = {**vars(segments), **vars(base), "ModelCard": base.OfferedModel}
    assert all(getattr(old, name) is moved[name] for name in old.__all__)


def test_engines_are_found_in_the_old_group_and_in_the_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = {
        "aistack.backends": {"ears": "old:Ears", "both": "old:Both"},
        "aistack.engines": {"eyes": "new:Eyes", "both": "new:Both"},
    }

    def found(group: str) -> list[EntryPoint]:
        return [EntryPoint(name, value, group) for name, value in groups[group].items()]

    monkeypatch.setattr(discovery, "entry_points", found)
    engines = discovery.real_engines()
    assert {name: engines[name] for name in ("ears", "eyes", "both")} == {
        "ears": "old:Ears",
        "eyes": "new:Eyes",
        "both": "new:Both",
    }
