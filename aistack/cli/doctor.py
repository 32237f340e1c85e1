"""`aistack doctor`: look at everything, and tell it as a page or as JSON.

On a terminal each finding is shown as it comes: the libraries of an engine may take half a minute.

Exit codes: 0 nothing is broken, 1 something is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Iterable

from aistack.cli.exits import FAILED, OK, show
from aistack.cli.loop import run
from aistack.cli.output import StatusLine, quiet_logs
from aistack.config import Config
from aistack.doctor import config as doctor_config
from aistack.doctor import engines as doctor_engines
from aistack.doctor import findings
from aistack.doctor import machine as doctor_machine
from aistack.doctor import net as doctor_net
from aistack.doctor.findings import Finding, FindingState
from aistack.observe import log
from aistack.routing.inventory import Inventory

ENGINES = "Engines"
NAME_WIDTH = 14
"""Columns for an engine's name while nobody knows which is the longest."""


def doctor(args: argparse.Namespace) -> int:
    """Print the findings; the exit code."""
    config, found = doctor_config.read(args.config)
    quiet_logs(config.log)
    live = not args.json and sys.stdout.isatty()
    try:
        with Live() if live else Looking() as looking:
            looking.found(found)
            found += run(_looked(config, looking))
    finally:
        log.close()
    if args.json:
        show(json.dumps(findings.as_json(found), indent=2, ensure_ascii=False), as_json=True)
    elif live:
        print(f"\n{findings.summary(found)}")
    else:
        print(findings.page(found))
    return FAILED if findings.broken(found) else OK


async def _looked(config: Config, looking: Looking) -> list[Finding]:
    """All findings but those about reading the configuration; what can be done side by side is."""
    looking.at("the machine")
    inventory = Inventory(config)
    facts, cards = await asyncio.gather(
        inventory.facts(), asyncio.to_thread(doctor_machine.cards, config.slots.devices)
    )
    card = any(finding.state is FindingState.WORKS for finding in cards)

    async def quick() -> list[Finding]:
        parts = await asyncio.gather(
            doctor_engines.audio_findings(),
            asyncio.to_thread(doctor_machine.disk, config, os.environ),
            doctor_machine.ports(config),
            doctor_net.hubs(config, os.environ),
            doctor_net.upstream_findings(config),
        )
        known = [*doctor_config.named(config, facts), *doctor_config.model_findings(facts), *cards]
        found = [*known, *(finding for part in parts for finding in part)]
        looking.found(found)
        looking.rest_is_engines()
        return found

    engines = doctor_engines.engines(config, inventory, card, looking.at, looking.engine)
    found, of_engines = await asyncio.gather(quick(), engines)
    return [*found, *of_engines]


class Looking:
    """A line on stderr that says what is being looked at; nothing unless a terminal sees it."""

    def __init__(self) -> None:
        self._line = StatusLine()
        self._now: list[str] = []

    def __enter__(self) -> Looking:
        return self

    def __exit__(self, *exc: object) -> None:
        self.clear()

    def at(self, what: str) -> None:
        """This now, besides what is still looked at."""
        self._now.append(what)
        self._draw()

    def found(self, found: Iterable[Finding]) -> None:
        """These are known."""

    def rest_is_engines(self) -> None:
        """Everything but the engines has been found."""
        self._now = [each for each in self._now if each != "the machine"]
        self._draw()

    def engine(self, finding: Finding) -> None:
        """An engine has been looked at."""
        self._now = [each for each in self._now if each != finding.name]
        self._draw()

    def clear(self) -> None:
        """Take the line away."""
        self._line.clear()

    def _draw(self) -> None:
        if self._now:
            self._line.draw(f"checking {', '.join(self._now)} ...")
        else:
            self.clear()


class Live(Looking):
    """Shows every finding as soon as it can: the quick ones by group, then engine by engine."""

    def __init__(self) -> None:
        super().__init__()
        self._held: list[Finding] = []
        self._engines: list[Finding] | None = []
        """Engines that wait for the other groups to be shown; none once they have been."""

    def found(self, found: Iterable[Finding]) -> None:
        """They are shown with the others of their group."""
        self._held += found

    def rest_is_engines(self) -> None:
        """Now every other group is whole."""
        self.clear()
        print(findings.heading())
        for group in findings.GROUPS:
            of = [finding for finding in self._held if finding.group == group]
            if of:
                width = max(len(finding.name) for finding in of)
                print("\n".join(["", group, *(findings.line(each, width) for each in of)]))
        print(f"\n{ENGINES}", flush=True)
        waiting, self._engines = self._engines or [], None
        for finding in waiting:
            self._tell(finding)
        super().rest_is_engines()

    def engine(self, finding: Finding) -> None:
        """Shown at once, if the other groups have been."""
        self.clear()
        if self._engines is None:
            self._tell(finding)
        else:
            self._engines.append(finding)
        super().engine(finding)

    def _tell(self, finding: Finding) -> None:
        print(findings.line(finding, NAME_WIDTH), flush=True)
