"""What crosses the pipe between the gateway and an engine process comes out as it went in."""

from __future__ import annotations

import pytest

from aistack.errors import Code, Fault
from aistack.run.frames import Unpacker, fault_from_frame, fault_to_frame, pack

FAULTS = [
    Fault(Code.MODEL_LOAD_FAILED, "No."),
    Fault(Code.INVALID_FIELD, "No.", "Parakeet", "translate"),
    Fault(Code.UPSTREAM_BUSY, "Later.", "Mine", retry_after=30),
    Fault(Code.MODEL_NOT_FOUND, "No.", "Mine", "model", status=404),
    Fault(Code.INTERNAL_ERROR, "No.", "Mine", extra={"upstream": {"status": 500}}),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.code.value)
def test_a_fault_loses_nothing_on_its_way(fault: Fault) -> None:
    (message,) = Unpacker().feed(pack(fault_to_frame(fault)))
    assert fault_from_frame(message) == fault
