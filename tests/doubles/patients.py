"""Engines with every illness a library can have, for the probe."""

from __future__ import annotations

import ctypes
import os
import sys
import threading

from aistack.engines.base import OfferedModel
from aistack.engines.fake import FakeEngine


class Healthy(FakeEngine):
    provider = "Healthy"
    install = "pip install healthy"
    requires: tuple[str, ...] = ("attrs",)

    def models(self) -> tuple[OfferedModel, ...]:
        return ()

    def warm(self) -> None:
        print("a library that greets on stdout")  # noqa: T201 - as some do


class Missing(Healthy):
    requires = ("attrs", "no_such_library")


class Segfault(Healthy):
    def warm(self) -> None:
        ctypes.string_at(0)


class Hanging(Healthy):
    def warm(self) -> None:
        threading.Event().wait(60)


class Leaving(Healthy):
    def warm(self) -> None:
        sys.stderr.write("something went wrong\nand this is the last line\n")
        sys.stderr.flush()
        os._exit(7)


class Unloadable(Healthy):
    """As torchaudio's CUDA build beside a torch for processors."""

    def warm(self) -> None:
        try:
            ctypes.CDLL("libc10_cuda_made_up.so")
        except OSError as exc:
            raise ImportError("the library cannot be used") from exc


class Quitting(Healthy):
    def warm(self) -> None:
        sys.exit("not on this machine")
