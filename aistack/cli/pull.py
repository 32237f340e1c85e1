"""`aistack pull`: download model files ahead of time, with a bar on a terminal, else plain lines.

Exit codes: 0 all models are on the disk, 1 a download failed (the reason is on stderr; the others are
still downloaded), 2 a name is unknown (nothing is downloaded), 130 stopped.
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
from aistack.cli.exits import FAILED, OK, USAGE, say, show
from aistack.cli.loop import run
from aistack.cli.output import quiet_logs
from aistack.config import Config
from aistack.config.load import LoadedConfig
from aistack.errors import BackendFault, Code, Fault
from aistack.jobs.model import Resident
from aistack.observe import log
from aistack.observe.terminal import plain
from aistack.observe.units import file_size, percent
from aistack.routing.choose import choose_model
from aistack.routing.discovery import real_engines
from aistack.routing.facts import Facts
from aistack.routing.inventory import Inventory
from aistack.run.fetching import fetch
from aistack.service.assembly import settings_of

EVERY_S = 5.0
EVERY_SHARE = 0.1
"""Without a terminal, a line is written after this long or this much more of the download."""


@frozen
class PullTarget:
    """A model as named, and what it is; `here` says why there is nothing to download, if so."""

    name: str
    resident: Resident
    here: str = ""


def pull(args: argparse.Namespace, loaded: LoadedConfig) -> int:
    """Fetch the models of the command line; the exit code."""
    config = loaded.config
    quiet_logs(config.log)
    try:
        return run(_pull(args.models, config))
    except KeyboardInterrupt:
        say("Stopped. The part that has arrived is kept; the same command resumes.")
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
            show(f"{wanted.resident.model}: {wanted.here}")
            continue
        engine = wanted.resident.backend
        settings = settings_of(config, inventory.engine(engine), targets[engine])
        with DownloadProgress(wanted.resident.model) as shown:
            try:
                fault = await fetch(settings, inventory.spec(wanted.resident, "cpu"), shown.update)
            except OSError as exc:
                shown.clear()
                say(f"{wanted.resident.model}: {settings.python}: {exc.strerror or type(exc).__name__}.")
                code = FAILED
                continue
        if fault is None:
            show(f"{wanted.resident.model}: downloaded{shown.size}.")
        else:
            say(f"{wanted.resident.model}: {fault.message}")
            code = FAILED
    return code


def _found(
    names: Sequence[str], inventory: Inventory, facts: Facts, config: Config
) -> tuple[list[PullTarget], int]:
    """The models that the names stand for, each once, and the exit code so far; prints what is wrong."""
    found: dict[Resident, PullTarget] = {}
    code = OK
    for name in names:
        try:
            wanted = _wanted(name, inventory, facts)
        except BackendFault as exc:
            unknown = exc.fault.code is Code.MODEL_NOT_FOUND
            chat = " Ollama downloads chat models: ollama pull NAME." if unknown else ""
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
        name, resident, f"read from {source}; nothing to download." if own else "already here."
    )


def _nowhere(provider: str, model: str) -> Fault:
    message = f"The model files of {model} are not on this machine, and {provider} cannot download them."
    return Fault(Code.MODEL_LOAD_FAILED, message, provider)


INSIDE = "comes with its package; nothing to download."


class DownloadProgress:
    """How far a download is, on stderr: a bar on a terminal, or a line now and then."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._bar: Any = None
        self._at = float("-inf")
        self._share = 0.0
        self._last = Progress(0.0, None, DOWNLOAD)
        self._before = 0.0

    def __enter__(self) -> DownloadProgress:
        return self

    def __exit__(self, *exc: object) -> None:
        self.clear()

    def update(self, progress: Progress) -> None:
        """Show that this much has arrived."""
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
        """` (484 MB)`, or an empty string if it is unknown."""
        whole = self._before + self._last.done
        return f" ({file_size(whole)})" if whole else ""

    def clear(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _draw(self, progress: Progress) -> None:
        if self._bar is None:
            from tqdm import tqdm  # type: ignore[import-untyped]

            tqdm.monitor_interval = 0
            columns, rows = shutil.get_terminal_size()
            self._bar = tqdm(
                desc=plain(self._model),
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
        of = f" of {file_size(progress.total)} ({percent(share)})" if progress.total else ""
        say(f"{self._model}: {file_size(progress.done)}{of}")
