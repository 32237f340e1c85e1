"""The internal API over HTTP with real engine processes and the tiny weights.

Not collected where the library is missing; the summary says so.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aistack.engines.nanochat.engine import Nanochat
from tests.http.gateway.conftest import environment, gates, gates_, loads
from tests.http.gateway.service import Service

__all__ = ["environment", "gates", "gates_", "loads"]

MISSING = [name for name in Nanochat.requires if importlib.util.find_spec(name) is None]
collect_ignore_glob = ["test_*.py"] if MISSING else []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.heavy)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if MISSING:
        files = len(list(Path(__file__).parent.glob("test_*.py")))
        terminalreporter.write_line(
            f"tests/http/internal: {files} files not collected, missing: {', '.join(MISSING)}"
        )


@pytest.fixture(scope="package")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model root of our own: the tiny weights, and room for others."""
    from tests.http.internal.talk import ROOT

    folder = tmp_path_factory.mktemp("weights")
    for tag in ("tiny-ada", "tiny-ada-hf", "tiny-bo", "tiny-bo-hf"):
        (folder / tag).symlink_to(ROOT / tag, target_is_directory=True)
    return folder


@pytest.fixture(scope="package")
def service_(environment: Path, root: Path, gates_: object) -> Iterator[Service]:
    from tests.http.internal.talk import serving

    with serving(environment / "one", inference={"root": str(root)}) as service:
        yield service


@pytest.fixture
def service(service_: Service) -> Iterator[Service]:
    """One slot, tiny-ada current; as quiet after the test as before."""
    from tests.http.internal.talk import stats, swapped

    if stats(service_)["model_tag"] != "tiny-ada":
        swapped(service_, "tiny-ada")
    yield service_
    service_.quiet()
    assert stats(service_)["busy_workers"] == 0


@pytest.fixture(scope="package")
def pair_(environment: Path, root: Path, gates_: object) -> Iterator[Service]:
    from tests.http.internal.talk import serving

    slots = {"devices": ("cpu:0", "cpu:1")}
    with serving(environment / "pair", slots=slots, inference={"root": str(root)}) as service:
        yield service


@pytest.fixture
def pair(pair_: Service) -> Iterator[Service]:
    """Two slots, with either of the tiny weights."""
    from tests.http.internal.talk import stats

    yield pair_
    pair_.quiet()
    assert stats(pair_)["busy_workers"] == 0
