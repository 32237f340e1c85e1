"""Contradictions between settings stop the start, and all are reported at once."""

from __future__ import annotations

import pytest

from aistack.config.load import ConfigError, load_config

NO_FILE = {"XDG_CONFIG_HOME": "/nowhere", "APPDATA": "/nowhere"}


def problems(**env: str) -> list[str]:
    try:
        load_config(None, NO_FILE | {f"AISTACK_{name}": value for name, value in env.items()})
    except ConfigError as exc:
        return list(exc.problems)
    return []


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"SLOTS__DEVICES": "cpu:0,cpu:1", "OLLAMA__DEVICE": "cpu:1"},
        {"INFERENCE__MODEL": "d20", "INFERENCE__ROOT": "/weights"},
    ],
)
def test_what_fits_together(env: dict[str, str]) -> None:
    assert problems(**env) == []


def test_a_device_twice() -> None:
    (problem,) = problems(SLOTS__DEVICES="cpu,cuda:0,cpu")
    assert problem.startswith("slots.devices names cpu 2 times")


def test_one_card_under_two_names() -> None:
    (problem,) = problems(SLOTS__DEVICES="cuda,cuda:1,cuda:0")
    assert problem == "slots.devices names one card twice: cuda and cuda:0."


@pytest.mark.parametrize("name", ["cuda:x", "cuda:-1", "CUDA:0", "cuda:", "auto:1"])
def test_what_is_not_a_device(name: str) -> None:
    (problem,) = problems(SLOTS__DEVICES=f"cpu,{name}")
    assert problem.startswith(f"slots.devices: {name!r} is not a device")


def test_auto_beside_others() -> None:
    (problem,) = problems(SLOTS__DEVICES="auto,cuda:0")
    assert "stands alone" in problem


@pytest.mark.parametrize("section", ["OLLAMA", "QWEN_TTS"])
@pytest.mark.parametrize("bound", ["cuda:7", "any"])
def test_a_server_that_is_bound_to_no_slot(section: str, bound: str) -> None:
    (problem,) = problems(**{f"{section}__DEVICE": bound, "SLOTS__DEVICES": "cuda:0,cuda:1"})
    assert problem == f"{section.lower()}.device = '{bound}' is not in slots.devices (cuda:0, cuda:1)."


def test_weights_to_begin_with_but_no_folder() -> None:
    (problem,) = problems(INFERENCE__MODEL="d20")
    assert "inference.root" in problem


def test_all_are_reported_at_once() -> None:
    assert len(problems(INFERENCE__MODEL="d20", OLLAMA__DEVICE="x", SLOTS__DEVICES="cpu,cpu")) == 3
