"""`aistack pull`: weights fetched ahead of time, with a bar on a terminal and plain lines elsewhere.

Exit codes: 0 all models are on the disk now, 1 one could not be fetched (its reason is on stderr; the
others are fetched all the same), 2 a name is unknown (nothing is fetched then), 130 stopped.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any

from attrs import evolve, frozen

from aistack.chunks import DOWNLOAD, Progress
from aistack.cli.exits import FAILED, OK, USAGE, say
from aistack.cli.loop import run
from aistack.config import Config
from aistack.config.load import LoadedConfig
from aistack.errors import BackendFault, Code, ErrorKind, Fault
from aistack.jobs.model import Resident
from aistack.observe import log
from aistack.routing.choose import choose_model
from aistack.routing.discovery import real_engines
from aistack.routing.facts import Facts
from aistack.routing.inventory import Inventory
from aistack.run.fetching import fetched
from aistack.service.assembly import settings_of

EVERY_S = 5.0
EVERY_SHARE = 0.1
"""How often a line is written where there is no terminal: after so long, or so much more of it."""


@frozen
class PullTarget:
    """A model as named, and who it is; `here` says in words why there is nothing to fetch."""

    name: str
    resident: Resident
    here: str = ""


def pull(args: argparse.Namespace, loaded: LoadedConfig) -> int:
    """Fetch the models of the command line; the exit code."""
    config = loaded.config
    quiet = "debug" if config.log.level == "debug" else "error"
    log.configure(evolve(config.log, level=quiet), log.STDERR)
    try:
        return run(_pull(args.models, config))
    except KeyboardInterrupt:
        say("Stopped. What has arrived is kept: the same command goes on from there.")
        raise
    finally:
        log.close()


async def _pull(names: Sequence[str], config: Config) -> int:
    targets = real_engines()
    inventory = Inventory(config, engines=targets)
    facts = await inventory.facts()
    found, code = _found(names, inventory, facts, config)
    if code != OK:
        return code
    for wanted in found:
        if wanted.here:
            print(f"{wanted.resident.model}: {wanted.here}", flush=True)
            continue
        engine = wanted.resident.backend
        settings = settings_of(config, inventory.engine(engine), targets[engine])
        with Shown(wanted.resident.model) as shown:
            try:
                fault = await fetched(settings, inventory.spec(wanted.resident, "cpu"), shown.told)
            except OSError as exc:
                shown.clear()
                say(f"{wanted.resident.model}: {settings.python}: {exc.strerror or type(exc).__name__}.")
                code = FAILED
                continue
        if fault is None:
            print(f"{wanted.resident.model}: fetched{shown.size}.", flush=True)
        else:
            say(f"{wanted.resident.model}: {fault.message}")
            code = FAILED
    return code


def _found(
    names: Sequence[str], inventory: Inventory, facts: Facts, config: Config
) -> tuple[list[PullTarget], int]:
    """Who the names stand for, each model once; what cannot be is said, and its exit code returned."""
    found: dict[Resident, PullTarget] = {}
    code = OK
    for name in names:
        try:
            wanted = _wanted(name, inventory, facts)
        except BackendFault as exc:
            unknown = exc.fault.code is Code.MODEL_NOT_FOUND
            chat = " Chat models are fetched by Ollama: ollama pull NAME." if unknown else ""
            say(exc.fault.message + chat)
            code = max(code, USAGE if unknown else FAILED)
        else:
            found.setdefault(wanted.resident, wanted)
    return list(found.values()), code


def _wanted(name: str, inventory: Inventory, facts: Facts) -> PullTarget:
    """One name. Raises BackendFault as routing does: unknown, or its engine is not installed."""
    for engine, of in facts.engines.items():
        for model in of.listed:
            if model.capability != "asr" and model.id.lower() == name.lower():
                return PullTarget(name, Resident(engine, model.id), INSIDE)
    resident = choose_model(name, None, False, evolve(facts, fetchable=True)).route.resident
    of = facts.engines[resident.backend]
    here = resident.model in facts.on_disk
    if not of.fetches:
        if not here:
            raise BackendFault(_nowhere(of.provider, resident.model))
        return PullTarget(name, resident, INSIDE)
    if not here:
        return PullTarget(name, resident)
    source = inventory.spec(resident, "cpu").source
    own = source != of.model(resident.model).source and os.path.exists(source)
    return PullTarget(
        name, resident, f"read from {source}; nothing to fetch." if own else "already here."
    )


def _nowhere(provider: str, model: str) -> Fault:
    message = f"The weights of {model} are not on this machine, and {provider} cannot fetch them."
    return Fault(ErrorKind.NETWORK, Code.MODEL_LOAD_FAILED, message, provider)


INSIDE = "comes inside its package; nothing to fetch."


class Shown:
    """How far a download is, on stderr: a bar that a terminal sees, or a line now and then."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._bar: Any = None
        self._at = float("-inf")
        self._share = 0.0
        self._last = Progress(0.0, None, DOWNLOAD)
        self._before = 0.0

    def __enter__(self) -> Shown:
        return self

    def __exit__(self, *exc: object) -> None:
        self.clear()

    def told(self, progress: Progress) -> None:
        """So much has arrived."""
        if progress.unit != DOWNLOAD:
            return
        if progress.done < self._last.done:  # the next of several repositories
            self._before += self._last.done
            self._share = 0.0
            self.clear()
        self._last = progress
        if sys.stderr.isatty():
            self._draw(progress)
        else:
            self._line(progress)

    @property
    def size(self) -> str:
        """` (484 MB)`, or nothing if it is not known."""
        whole = self._before + self._last.done
        return f" ({megabytes(whole)})" if whole else ""

    def clear(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _draw(self, progress: Progress) -> None:
        if self._bar is None:
            from tqdm import tqdm  # type: ignore[import-untyped]

            tqdm.monitor_interval = 0
            columns, rows = shutil.get_terminal_size()
            self._bar = tqdm(
                desc=self._model,
                total=progress.total,
                initial=int(progress.done),
                unit="B",
                unit_scale=True,
                ncols=columns - 1,
                nrows=rows,
                leave=False,
            )
        self._bar.total = progress.total
        self._bar.update(progress.done - self._bar.n)

    def _line(self, progress: Progress) -> None:
        share = progress.done / progress.total if progress.total else 0.0
        now = time.monotonic()
        if now - self._at < EVERY_S and share < self._share + EVERY_SHARE:
            return
        self._at, self._share = now, share
        of = f" of {megabytes(progress.total)} ({share:.0%})" if progress.total else ""
        say(f"{self._model}: {megabytes(progress.done)}{of}")


def megabytes(size: float) -> str:
    """Bytes as people read them, in powers of ten like the hubs."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size:.0f} bytes"
