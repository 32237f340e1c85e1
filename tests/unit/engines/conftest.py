"""Engines, loaded once for all tests of this folder."""

from __future__ import annotations

import pytest

from aistack.chunks import ModelSpec
from aistack.engines.sphinx import Sphinx
from aistack.engines.whisper import Whisper
from tests.support.listening import TINY


@pytest.fixture(scope="session")
def whisper() -> Whisper:
    engine = Whisper()
    engine.warm()
    engine.load(ModelSpec("tiny", str(TINY), "cpu", {"threads": 1}), lambda progress: None)
    return engine


@pytest.fixture(scope="session")
def sphinx() -> Sphinx:
    engine = Sphinx()
    engine.warm()
    engine.load(ModelSpec("pocketsphinx-en-us", "", "cpu"), lambda progress: None)
    return engine
