"""What a configuration value may be: small attrs validators that can also say it in words.

The words stand in the annotated sample and in the message of a refusal, so neither can drift from
what is checked.
"""

from __future__ import annotations

import math
from typing import Any

from attrs import frozen

from aistack.config.addresses import parse_address

MONTH_S = 30 * 24 * 3600.0
"""Longest time that makes sense anywhere here; a larger one is a slip of the unit."""


@frozen
class Rule:
    """Base of the validators; `allowed` is what stands after "must be"."""

    @property
    def allowed(self) -> str:
        raise NotImplementedError

    def fits(self, value: Any) -> bool:
        raise NotImplementedError

    def __call__(self, instance: Any, attribute: Any, value: Any) -> None:
        """The attrs validator. Raises ValueError."""
        if not self.fits(value):
            raise ValueError(f"{attribute.name} must be {self.allowed}")


@frozen
class Between(Rule):
    """A finite number with both ends allowed; no `high` means no upper end."""

    low: float
    high: float | None = None

    @property
    def allowed(self) -> str:
        if self.high is None:
            return f"{self.low:g} or more"
        return f"between {self.low:g} and {self.high:.10g}"

    def fits(self, value: Any) -> bool:
        if isinstance(value, float) and not math.isfinite(value):
            return False
        return bool(self.low <= value and (self.high is None or value <= self.high))


@frozen
class OneOf(Rule):
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return " or ".join(f'"{word}"' for word in self.words)

    def fits(self, value: Any) -> bool:
        return value in self.words


@frozen
class NotEmpty(Rule):
    """At least one item."""

    @property
    def allowed(self) -> str:
        return "a list of at least one"

    def fits(self, value: Any) -> bool:
        return bool(value)


@frozen
class Addresses(Rule):
    """At least one address to listen on."""

    @property
    def allowed(self) -> str:
        return 'one or more addresses like "127.0.0.1:11500" or "[::1]:11500"'

    def fits(self, value: Any) -> bool:
        try:
            return bool(value) and all(parse_address(text) for text in value)
        except ValueError:
            return False


def at_least(low: float) -> Between:
    """`low` or more."""
    return Between(low)


def between(low: float, high: float) -> Between:
    """From `low` to `high`, both included."""
    return Between(low, high)


def one_of(*words: str) -> OneOf:
    """One of `words`."""
    return OneOf(words)


addresses = Addresses()
not_empty = NotEmpty()
