"""The event loop of a command: `asyncio.run` on uvloop where there is one."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` on uvloop where there is one."""
    try:
        factory: Callable[[], asyncio.AbstractEventLoop] | None = importlib.import_module(
            "uvloop"
        ).new_event_loop
    except ImportError:
        factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)
