"""NVIDIA cards as their driver sees them. Nothing else in aistack calls NVML. Blocks for a moment."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Collection, Iterator
from enum import Enum, auto
from typing import Any

from attrs import frozen


class Absence(Enum):
    """Why a card cannot be read."""

    NO_LIBRARY = auto()
    """nvidia-ml-py is not installed."""
    NO_DRIVER = auto()
    """This machine has no driver."""
    SILENT = auto()
    """There is a driver, and it does not answer."""
    FAILED = auto()
    """The driver answers with an error: it knows no such card, or does not say this of it."""


class NoGpu(Exception):
    """A card cannot be read; the message is the driver's."""

    def __init__(self, absence: Absence, message: str = "") -> None:
        super().__init__(message)
        self.absence = absence


@frozen
class GpuMemory:
    """Memory of one card in bytes."""

    free: int
    total: int

    @property
    def used(self) -> int:
        return self.total - self.free


class Driver:
    """The driver while `driver()` is open. Every method may end the block with NoGpu."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml

    @property
    def version(self) -> str:
        return _text(self._nvml.nvmlSystemGetDriverVersion())

    @property
    def count(self) -> int:
        """How many cards there are."""
        return int(self._nvml.nvmlDeviceGetCount())

    def name(self, index: int) -> str:
        """What its maker calls the card."""
        return _text(self._nvml.nvmlDeviceGetName(self._handle(index)))

    def memory(self, index: int) -> GpuMemory:
        """The card's memory, used by any process."""
        info = self._nvml.nvmlDeviceGetMemoryInfo(self._handle(index))
        return GpuMemory(int(info.free), int(info.total))

    def held_by(self, index: int, pids: Collection[int]) -> int | None:
        """Bytes that these processes hold on the card. None if the driver does not say, as some do
        not in a container."""
        try:
            running = self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle(index))
        except self._nvml.NVMLError:
            return None
        return sum(
            int(each.usedGpuMemory)
            for each in running
            if each.pid in pids and each.usedGpuMemory is not None
        )

    def _handle(self, index: int) -> Any:
        return self._nvml.nvmlDeviceGetHandleByIndex(index)


@contextlib.contextmanager
def driver() -> Iterator[Driver]:
    """The driver, to be asked within the block. Raises NoGpu, also for what fails within it."""
    if importlib.util.find_spec("pynvml") is None:
        raise NoGpu(Absence.NO_LIBRARY)
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as exc:
        missing = isinstance(exc, getattr(pynvml, "NVMLError_LibraryNotFound", ()))
        raise NoGpu(Absence.NO_DRIVER if missing else Absence.SILENT, str(exc)) from exc
    try:
        yield Driver(pynvml)
    except pynvml.NVMLError as exc:
        raise NoGpu(Absence.FAILED, str(exc)) from exc
    finally:
        pynvml.nvmlShutdown()


def index_of(device: str) -> int:
    """The card of a CUDA device: 1 for `cuda:1`, 0 for `cuda`. Raises NoGpu if it names none."""
    number = device.partition(":")[2] or "0"
    if not (number.isascii() and number.isdigit()):
        raise NoGpu(Absence.FAILED, f"{device} names no card")
    return int(number)


def gpu_memory(device: str) -> GpuMemory | None:
    """Memory of a CUDA device; None for other devices and where it cannot be read."""
    if not device.startswith("cuda"):
        return None
    try:
        with driver() as there:
            return there.memory(index_of(device))
    except NoGpu:
        return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
