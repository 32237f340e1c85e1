"""The three switches. They can be turned while the service runs; a restart returns to the settings.

Pure.
"""

from __future__ import annotations

from attrs import define

from aistack.config.observability import ObservabilitySection
from aistack.contract.booleans import TRUE

KEYS = ("metrics", "access_log", "payload")


@define
class Toggles:
    """What is on now. Read once per request, when it begins."""

    metrics: bool
    access_log: bool
    payload: bool

    @classmethod
    def of(cls, settings: ObservabilitySection) -> Toggles:
        """As configured."""
        return cls(settings.metrics, settings.access_log, settings.payload)

    @property
    def any(self) -> bool:
        return self.metrics or self.access_log or self.payload

    def turn(self, key: str, on: bool) -> None:
        """Raises KeyError for a switch there is not."""
        if key not in KEYS:
            raise KeyError(key)
        setattr(self, key, on)


def truthy(value: object) -> bool:
    """Whether a value sent for a switch means on: 1, on, true, yes, y in any case; all else is off."""
    return str(value).strip().lower() in TRUE
