"""The old name of `aistack.engines.base`. Goes with the next release."""

from __future__ import annotations

import warnings

from aistack.chunks import Report
from aistack.engines.base import (
    CancelToken,
    Engine,
    ModelCard,
    Relay,
    Yielded,
    as_one,
    missing,
    spaced,
)

__all__ = [
    "CancelToken",
    "Engine",
    "ModelCard",
    "Relay",
    "Report",
    "Yielded",
    "as_one",
    "missing",
    "spaced",
]

warnings.warn(
    "aistack.backends.base is now aistack.engines.base; the old name goes with the next release",
    DeprecationWarning,
    stacklevel=2,
)
