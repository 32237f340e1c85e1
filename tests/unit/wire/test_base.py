"""Every format of ours is either whole or a stream, and which of the two is cheap to ask."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

from aistack import wire
from aistack.wire.base import StreamWire, WholeWire


def formats() -> list[type]:
    """All formats of the package."""
    for module in pkgutil.iter_modules(wire.__path__):
        importlib.import_module(f"{wire.__name__}.{module.name}")
    ours = (*WholeWire.__subclasses__(), *StreamWire.__subclasses__())
    return [kind for kind in ours if kind.__module__.startswith("aistack.")]


def test_all_formats_are_found() -> None:
    assert {kind.__name__ for kind in formats()} == {
        "WholeTranscript",
        "StreamedTranscript",
        "WholeChat",
        "StreamedChat",
        "TokenEvents",
        "SpeechWire",
        "RelayWire",
        "SwapAnswer",
    }


@pytest.mark.parametrize("kind", formats(), ids=lambda kind: kind.__name__)
def test_a_format_is_of_one_kind_and_leaves_nothing_out(kind: type) -> None:
    (base,) = [each for each in (WholeWire, StreamWire) if issubclass(kind, each)]
    asked = [
        name for name, method in vars(base).items() if getattr(method, "__isabstractmethod__", False)
    ]
    assert asked and all(getattr(kind, name) is not getattr(base, name) for name in asked)


def test_the_kinds_are_plain_classes() -> None:
    """A metaclass would make `isinstance` several times slower, and it is asked for every chunk."""
    assert type(WholeWire) is type and type(StreamWire) is type
