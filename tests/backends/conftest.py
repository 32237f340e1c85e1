"""Engines, loaded once for all tests of this folder."""

from __future__ import annotations

import pytest

from aistack.backends.sphinx import Sphinx
from aistack.backends.whisper import Whisper
from aistack.chunks import ModelSpec
from tests.backends.listening import TINY


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
