"""What the failure tests of both engines share: memory errors, and loads that must fail."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aistack.errors import BackendFault, Code
from tests.support.listening import Flag
from tests.unit.engines.torch.conftest import quiet_load


class When(Flag):
    """A token that sets itself once a condition holds when it is looked at, and remembers the time."""

    def __init__(self, condition: Callable[[When], bool]) -> None:
        super().__init__()
        self.condition = condition
        self.looks = 0
        self.at = 0.0

    def is_set(self) -> bool:
        self.looks += 1
        if not self.on and self.condition(self):
            self.on = True
            self.at = time.monotonic()
        return self.on


MEMORY_ERRORS = ("torch", "torch.cuda", "processor", "python", "cuda text", "cudnn text")


def memory_error(kind: str) -> BaseException:
    """Running out of memory as the libraries tell it; `processor` is PyTorch's real own."""
    import torch

    match kind:
        case "torch":
            error: BaseException = torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 2.00 GiB."
            )
            return error
        case "torch.cuda":
            error = torch.cuda.OutOfMemoryError("made up")
            return error
        case "processor":
            with pytest.raises(RuntimeError) as caught:
                torch.empty(1 << 55, dtype=torch.uint8)
            return caught.value
        case "python":
            return MemoryError()
        case "cuda text":
            return RuntimeError("CUDA error: out of memory")
        case _:
            return RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")


def fault_of_load(engine: Any, source: Path | str, **options: Any) -> tuple[int, Code, str]:
    """Status, code and message of a load that must fail."""
    with pytest.raises(BackendFault) as caught:
        quiet_load(engine, source, **options)
    fault = caught.value.fault
    assert fault.provider == engine.provider
    assert str(Path.home()) not in fault.message
    return fault.status, fault.code, fault.message
