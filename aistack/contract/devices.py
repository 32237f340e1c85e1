"""A device as settings, slots, frames and answers name it: "auto", "cpu", "cpu:1", "cuda:0". Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

from attrs import frozen

_FORM = re.compile(r"([a-z][a-z0-9_]*)(?::(0|[1-9][0-9]*))?")


@frozen
class Device:
    """What a slot computes on. `str()` gives back exactly the text that was parsed.

    `kind` is "auto", "cpu", "cuda" or any other word that a library may know ("mps"). `index` is the
    card's number; None if the text has none. On the processor an index only tells slots apart: cpu:0
    and cpu:1 are two slots on the same processor.
    """

    kind: str
    index: int | None = None

    @classmethod
    def parse(cls, text: str) -> Device:
        """The device that `text` names. Raises ValueError."""
        match = _FORM.fullmatch(text)
        if match is None or (match[1] == "auto" and match[2]):
            raise ValueError(f"{text!r} is not a device")
        return cls(match[1], None if match[2] is None else int(match[2]))

    def __str__(self) -> str:
        return self.kind if self.index is None else f"{self.kind}:{self.index}"

    @property
    def is_cpu(self) -> bool:
        return self.kind == "cpu"

    @property
    def is_cuda(self) -> bool:
        return self.kind == "cuda"

    @property
    def number(self) -> int:
        """Which of its kind: the card's number, and 0 on the processor, of which there is one."""
        return 0 if self.is_cpu else self.index or 0

    @property
    def hardware(self) -> Device:
        """The device as libraries know it: cpu:1 is `cpu`."""
        return CPU if self.is_cpu else self

    def resolved(self, cuda_works: Callable[[], bool]) -> Device:
        """For `auto` the first card if `cuda_works`, else the processor; any other device is itself.

        `cuda_works` is called only if it matters: it may import a library.
        """
        if self.kind != "auto":
            return self
        return FIRST_CARD if cuda_works() else CPU


CPU = Device("cpu")
FIRST_CARD = Device("cuda", 0)
