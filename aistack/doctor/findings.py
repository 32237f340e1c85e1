"""What works here, what is missing, what is broken: the findings of `aistack doctor`, and their order.

A finding never raises and never waits without a bound; native code is loaded in a separate process
(`doctor.engines`). BROKEN means configured but not working, or that nothing works without it; what is
merely absent is MISSING or a NOTE.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any

from attrs import field, frozen

from aistack import __version__
from aistack.observe.terminal import plain


class FindingState(Enum):
    """The state of one thing; the value is the word people read."""

    WORKS = "works"
    NOTE = "note"
    MISSING = "missing"
    BROKEN = "broken"


@frozen
class Finding:
    """One thing that was checked: `says` in plain words, `help` what to do, `facts` for JSON."""

    group: str
    name: str
    state: FindingState
    says: str
    help: str = ""
    facts: Mapping[str, Any] = field(factory=dict)


GROUPS = (
    "Configuration",
    "Engines",
    "Audio",
    "Models",
    "GPUs",
    "Disk",
    "Ports",
    "Model hubs",
    "Other servers",
)
"""In the order in which they are shown."""


def broken(findings: Iterable[Finding]) -> list[Finding]:
    """What makes the exit code 1."""
    return [finding for finding in findings if finding.state is FindingState.BROKEN]


def where() -> dict[str, str]:
    """The version and the system that it runs on."""
    return {
        "version": __version__,
        "python": platform.python_version(),
        "interpreter": sys.executable,
        "platform": f"{platform.system()} {platform.machine()}",
    }


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """The findings as plain values; `ok` agrees with the exit code."""
    return {
        "ok": not broken(findings),
        **where(),
        "findings": [
            {
                "group": finding.group,
                "name": finding.name,
                "state": finding.state.value,
                "says": finding.says,
                **({"help": finding.help} if finding.help else {}),
                **({"facts": dict(finding.facts)} if finding.facts else {}),
            }
            for finding in findings
        ],
    }


def page(findings: Sequence[Finding]) -> str:
    """The findings for people: one group after another, aligned, and a summary as the last line."""
    lines = [heading()]
    for group in GROUPS:
        of = [finding for finding in findings if finding.group == group]
        if of:
            width = max(len(plain(finding.name)) for finding in of)
            lines += ["", group, *(line(finding, width) for finding in of)]
    return "\n".join([*lines, "", summary(findings)])


def heading() -> str:
    """The first line."""
    about = where()
    return f"aistack {about['version']}, Python {about['python']}, {about['platform']}"


def line(finding: Finding, width: int) -> str:
    """One finding, its name padded to `width` columns. What to do is on the next line."""
    word = finding.state.value
    word = word.upper() if finding.state is FindingState.BROKEN else word
    text = f"  {word:<7}  {plain(finding.name):<{width}}  {plain(finding.says)}".rstrip()
    if finding.help:
        text += f"\n  {'':<7}  {'':<{width}}  -> {plain(finding.help)}"
    return text


def summary(findings: Sequence[Finding]) -> str:
    """The last line."""
    wrong = broken(findings)
    if not wrong:
        return "Everything that is configured works."
    names = ", ".join(f"{plain(each.name)} ({each.group})" for each in wrong)
    return f"{len(wrong)} broken: {names}."
