"""A hub on loopback with the tiny models under their real names, and commands that only know it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.hub import Hub
from tests.support.listening import ROOT, TINY

BOUND_S = 60.0
TINY_ID = "Systran/faster-whisper-tiny"
MODELS = ROOT / "tests" / "data" / "models"


class Running:
    """A hub on a loop and a thread of its own. Its attributes may be set from here."""

    def __init__(self) -> None:
        self.double = Hub()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="hub")
        self._thread.start()
        self._call(self.double.start())

    def _call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(BOUND_S)

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until `holds()`; looked at whenever a call comes or ends."""
        self._call(self.double.until(holds, BOUND_S))

    def shut(self) -> None:
        """From now on, whoever comes to the gate waits."""
        self._loop.call_soon_threadsafe(self.double.gate.clear)

    def open(self) -> None:
        self._loop.call_soon_threadsafe(self.double.gate.set)

    def close(self) -> None:
        self._call(self.double.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(BOUND_S)
        self._loop.close()


@pytest.fixture
def hub() -> Iterator[Running]:
    """With Whisper's tiny size. Every test has its own: what was asked counts."""
    running = Running()
    running.double.add(TINY_ID, TINY)
    yield running
    running.close()


def environment(folder: Path, url: str, **more: str) -> dict[str, str]:
    """No settings, caches or hubs of whoever runs the tests."""
    ours = ("AISTACK_", "HF_", "HUGGINGFACE_", "MODELSCOPE_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {
        "XDG_CONFIG_HOME": str(folder / "config"),
        "APPDATA": str(folder / "config"),
        "AISTACK_SERVER__LISTEN": "127.0.0.1:1",
        "AISTACK_SERVER__SPOOL_DIR": str(folder),
        "HF_ENDPOINT": url,
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DOWNLOAD_TIMEOUT": "30",
        "MODELSCOPE_ENDPOINT": url,
        "MODELSCOPE_CACHE": str(folder / "ms"),
        "PYTHONPATH": str(ROOT),
        **more,
    }


def command(environ: dict[str, str], *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "aistack", *argv],
        capture_output=True,
        text=True,
        env=environ,
        cwd=ROOT,
        timeout=100,
        check=False,
    )


def cached(folder: Path, repository: str = TINY_ID) -> set[str]:
    """The names of the files of a repository that are whole in the cache."""
    snapshots = folder / "hf" / "hub" / f"models--{repository.replace('/', '--')}" / "snapshots"
    return {path.name for path in snapshots.glob("*/*") if path.is_file()}
