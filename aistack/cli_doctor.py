"""`aistack doctor`: look at everything, and tell it as a page or as JSON.

Exit codes: 0 nothing is broken, 1 something is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable

from attrs import evolve

from aistack import doctor as findings
from aistack import doctor_config, doctor_engines, doctor_machine, doctor_net, log
from aistack.cli import FAILED, OK
from aistack.cli_serve import run
from aistack.config import Config
from aistack.doctor import Finding, State
from aistack.run.inventory import Inventory


def doctor(args: argparse.Namespace) -> int:
    """Print the findings; the exit code."""
    config, found = doctor_config.read(args.config)
    quiet = "debug" if config.log.level == "debug" else "error"
    log.configure(evolve(config.log, level=quiet), log.STDERR)
    try:
        with Looking() as looking:
            found += run(_looked(config, looking.at))
    finally:
        log.close()
    if args.json:
        print(json.dumps(findings.as_json(found), indent=2, ensure_ascii=False))
    else:
        print(findings.page(found))
    return FAILED if findings.broken(found) else OK


async def _looked(config: Config, begun: Callable[[str], None]) -> list[Finding]:
    """All findings but those about reading the configuration; what can be done side by side is."""
    begun("the machine")
    inventory = Inventory(config)
    facts, cards = await asyncio.gather(
        inventory.facts(), asyncio.to_thread(doctor_machine.cards, config.slots.devices)
    )
    card = any(finding.state is State.WORKS for finding in cards)
    parts = await asyncio.gather(
        doctor_engines.engines(config, inventory, card, begun),
        doctor_engines.audio(),
        asyncio.to_thread(doctor_machine.disk, config, os.environ),
        doctor_machine.ports(config),
        doctor_net.hubs(config, os.environ),
        doctor_net.upstreams(config),
    )
    rest = [finding for part in parts for finding in part]
    return [*doctor_config.named(config, facts), *doctor_config.models(facts), *cards, *rest]


class Looking:
    """A line on stderr that says what is being looked at; nothing unless a terminal sees it."""

    def __init__(self) -> None:
        self._shown = False

    def __enter__(self) -> Looking:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def at(self, what: str) -> None:
        """This now."""
        if sys.stderr.isatty():
            self._shown = True
            print(f"\r\x1b[Klooking at {what} ...", end="", file=sys.stderr, flush=True)
