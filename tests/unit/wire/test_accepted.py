"""The 202 of a swap."""

from __future__ import annotations

import json

import pytest

from aistack import errors
from aistack.chunks import Accepted
from aistack.contract.converters import structure
from aistack.contract.public import SwapAccepted
from aistack.wire.accepted import SwapAnswer


@pytest.mark.parametrize("status", ["accepted", "ok"])
def test_the_answer(status: str) -> None:
    answer = SwapAnswer().body((), Accepted(status, "d20"))
    assert answer.status == 202
    sent = json.loads(answer.body)
    assert sent == {"status": status, "current_model": "d20"}
    assert structure(sent, SwapAccepted).status == status


def test_it_is_no_stream() -> None:
    wire = SwapAnswer()
    assert not wire.streams
    assert wire.fault(errors.internal()) == (None, False)
    assert wire.tail(Accepted("ok", "d20")) is None
