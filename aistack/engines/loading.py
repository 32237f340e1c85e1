"""How an engine loads or fetches: whatever goes wrong becomes one plain sentence."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from aistack.engines.base import EngineInfo, missing
from aistack.engines.causes import load_fault
from aistack.errors import BackendFault, Fault

Explain = Callable[[BaseException, str, Mapping[str, str]], Fault]


@contextmanager
def loading(engine: EngineInfo, explain: Explain = load_fault) -> Iterator[None]:
    """Every exception of the block leaves it as a BackendFault; `explain` words those of libraries."""
    try:
        yield
    except BackendFault:
        raise
    except ModuleNotFoundError as exc:
        raise BackendFault(missing(engine)) from exc
    except Exception as exc:  # libraries raise whatever they like, down to Exception itself
        raise BackendFault(explain(exc, engine.provider, os.environ)) from exc
