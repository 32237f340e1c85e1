"""Connections behave differently on different loops, so what is about connections runs on both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

try:
    import uvloop
except ImportError:  # not on Windows and PyPy
    uvloop = None  # type: ignore[assignment]

BOTH = ("test_delivery", "test_intake", "test_service")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """asyncio's own loop everywhere; production's too where sockets are what is tested."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if uvloop is not None and item.path.stem in BOTH:
        factories["uvloop"] = uvloop.new_event_loop
    return factories
