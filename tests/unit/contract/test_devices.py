"""A device's text is parsed in one place, and comes out as it went in."""

from __future__ import annotations

import pytest

from aistack.contract.devices import CPU, Device
from aistack.engines.torch_common import torch_device


@pytest.mark.parametrize(
    ("text", "kind", "index", "number"),
    [
        ("auto", "auto", None, 0),
        ("cpu", "cpu", None, 0),
        ("cpu:1", "cpu", 1, 0),
        ("cuda", "cuda", None, 0),
        ("cuda:0", "cuda", 0, 0),
        ("cuda:12", "cuda", 12, 12),
        ("mps", "mps", None, 0),
        ("xpu:3", "xpu", 3, 3),
    ],
)
def test_the_parts_of_a_device(text: str, kind: str, index: int | None, number: int) -> None:
    device = Device.parse(text)
    assert (device.kind, device.index, device.number, str(device)) == (kind, index, number, text)
    assert (device.is_cpu, device.is_cuda) == (kind == "cpu", kind == "cuda")


@pytest.mark.parametrize(
    "text", ["", ":", "cuda:", "cuda:x", "cuda:-1", "cuda:01", "CPU", "auto:0", "a b"]
)
def test_what_is_not_a_device(text: str) -> None:
    with pytest.raises(ValueError, match="is not a device"):
        Device.parse(text)


def test_slots_on_one_processor_are_one_piece_of_hardware() -> None:
    assert Device.parse("cpu:0").hardware == Device.parse("cpu:1").hardware == CPU
    assert str(Device.parse("cuda:1").hardware) == "cuda:1"


def test_pytorch_is_given_hardware_and_no_slot() -> None:
    assert [str(torch_device(slot)) for slot in ("cpu:0", "cpu:1", "cuda:1")] == ["cpu", "cpu", "cuda:1"]


def test_auto_is_the_first_card_or_the_processor() -> None:
    auto = Device.parse("auto")
    assert str(auto.resolved(lambda: True)) == "cuda:0"
    assert str(auto.resolved(lambda: False)) == "cpu"


def test_only_auto_looks_at_the_machine() -> None:
    def never() -> bool:
        raise AssertionError("nobody asked for it")

    assert str(Device.parse("cuda:1").resolved(never)) == "cuda:1"
