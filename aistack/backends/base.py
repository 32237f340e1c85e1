"""The old name of `aistack.engines.base`. Goes with the next release.

`ModelCard` is now `OfferedModel`; an engine with `cards` instead of `models` works as long as this does
(`backends.adapter`).
"""

from __future__ import annotations

import warnings

from aistack.chunks import Report
from aistack.engines.base import CancelToken, Engine, Relay, Yielded, missing
from aistack.engines.base import OfferedModel as ModelCard
from aistack.engines.segments import as_one, spaced

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
