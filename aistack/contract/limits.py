"""What a value must keep to beyond its type, in words and for a check. Pure.

A limit stands in the annotation of a field (see `contract.fields`). The reference, the sample
configuration and the refusal of a value all take it from there, so none of them can differ from what
is checked.
"""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Any, ClassVar, Literal, get_args, get_origin

from attrs import frozen


class Limit:
    """Base of the limits."""

    @property
    def must(self) -> str:
        """What stands after "must": "be from 0 to 2"."""
        raise NotImplementedError

    def fits(self, value: Any) -> bool:
        """Whether a value of the field's type keeps to the limit."""
        raise NotImplementedError


@frozen
class Range(Limit):
    """A number with both ends allowed. `high` None: no upper end."""

    low: float
    high: float | None = None

    @property
    def must(self) -> str:
        if self.high is None:
            return f"be at least {self.low:.10g}"
        return f"be from {self.low:.10g} to {self.high:.10g}"

    def fits(self, value: float) -> bool:
        """Whether the number is in the range; NaN and infinity never are."""
        return self.low <= value < math.inf and (self.high is None or value <= self.high)


@frozen
class Length(Limit):
    """Base of the limits of a length. `high` None: no upper end."""

    UNIT: ClassVar[str]
    """What is counted, in the singular."""

    low: int
    high: int | None = None

    @property
    def must(self) -> str:
        if self.high is None:
            return f"have at least {self.low} {self.UNIT}{'s' * (self.low != 1)}"
        return f"have from {self.low} to {self.high} {self.UNIT}s"

    def fits(self, value: Any) -> bool:
        length = self.of(value)
        return self.low <= length and (self.high is None or length <= self.high)

    def of(self, value: Any) -> int:
        """The length of a value."""
        return len(value)


class Characters(Length):
    """The length of a text."""

    UNIT = "character"


class Items(Length):
    """The length of a list."""

    UNIT = "item"


class Bytes(Length):
    """The size of a file."""

    UNIT = "byte"

    def of(self, value: Any) -> int:
        size: int = value.size
        return size


@frozen
class TotalCharacters(Limit):
    """The texts in the member `of` of all items have at most `high` characters together.

    Looked at after the items themselves. JSON Schema has no word for it.
    """

    of: str
    high: int

    @property
    def must(self) -> str:
        return f"have at most {self.high} characters in total"

    def fits(self, value: tuple[object, ...]) -> bool:
        return sum(len(getattr(item, self.of)) for item in value) <= self.high


@frozen
class Pattern(Limit):
    """A text that a regular expression matches; `name` says what such a text is."""

    regex: str
    name: str

    @property
    def must(self) -> str:
        return f"be {self.name}"

    def fits(self, value: str) -> bool:
        return re.search(self.regex, value) is not None


@frozen
class OneOf(Limit):
    """One value of a closed list."""

    values: tuple[object, ...]

    @property
    def must(self) -> str:
        words = ", ".join(str(value) for value in self.values)
        return f"be one of {words}" if len(self.values) > 1 else f"be {words}"

    def fits(self, value: object) -> bool:
        return value in self.values


@cache
def closed_list(kind: Any) -> OneOf | None:
    """The limit that a `Literal` stands for; None for any other type."""
    return OneOf(get_args(kind)) if get_origin(kind) is Literal else None
