"""What holds for every test, before any library is imported."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
"""Also for the engine processes: on a small machine several threads of PyTorch fight each other."""

UVLOOP = importlib.util.find_spec("uvloop") is not None
"""False on Windows and PyPy."""


@pytest.hookimpl(optionalhook=True)  # contrib/dev/mutants runs pytest without plugins
def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """asyncio's own loop everywhere; production's too for tests marked `both_loops`, because sockets and
    subprocesses behave differently on each."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if UVLOOP and item.get_closest_marker("both_loops"):
        import uvloop

        factories["uvloop"] = uvloop.new_event_loop
    return factories


@pytest.fixture(scope="session", autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where access logs and captures go unless a test says otherwise, for our processes too: not the
    home of whoever runs the tests."""
    folder = str(tmp_path_factory.mktemp("state"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", folder)
        patch.setenv("LOCALAPPDATA", folder)
        yield
