"""The 202 of a swap."""

from __future__ import annotations

import json

import pytest

from aistack.chunks import Accepted
from aistack.contract.converters import structure
from aistack.contract.public import SwapAccepted
from aistack.wire.accepted import SwapAnswer


@pytest.mark.parametrize("status", ["accepted", "ok"])
def test_the_answer(status: str) -> None:
    answer = SwapAnswer().body((), Accepted(status, "d20"))
    assert answer.status == 202
    assert json.loads(answer.body) == {"status": status, "current_model": "d20"}
    assert structure(json.loads(answer.body), SwapAccepted).status == status
