"""The configuration and what it names, and how findings are told."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from aistack.config import Config, InferenceSection, ModelsSection, SlotsSection
from aistack.doctor.config import model_findings, named, read
from aistack.doctor.findings import GROUPS, Finding, FindingState, as_json, broken, page
from aistack.engines.base import OfferedModel
from aistack.routing.facts import EngineFacts, Facts
from tests.support.listening import TINY

SMALL = OfferedModel("whisper-small", "openai", "asr", names=("small",))
WHISPER = EngineFacts(True, "Faster-Whisper", "", (SMALL,))
FACTS = Facts({"whisper": WHISPER, "parakeet": EngineFacts(False, "Parakeet", "pip install nemo")})


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("APPDATA", str(tmp_path))
    for name in ("AISTACK_SERVER__LISTEN", "AISTACK_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def states(found: list[Finding]) -> dict[str, FindingState]:
    return {each.name: each.state for each in found}


def test_no_file_a_valid_one_and_one_with_mistakes(tmp_path: Path) -> None:
    config, (found,) = read(None)
    assert (config, found.state, found.facts) == (Config(), FindingState.WORKS, {"path": None})
    file = tmp_path / "a.toml"
    file.write_text('[log]\nlevel = "debug"\n')
    config, (found,) = read(str(file))
    assert (config.log.level, found.says) == ("debug", f"valid: {file}")
    file.write_text('[log]\nlevl = "debug"\n[slots]\nline_max = -1\n')
    config, found_ = read(str(file))
    assert config == Config(), "the rest is looked at all the same"
    assert [each.state for each in found_] == [FindingState.BROKEN, FindingState.BROKEN]
    assert "did you mean log.level" in found_[0].says


def test_names_in_the_environment_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AISTACK_LOG__LEVL", "debug")
    _, found = read(None)
    assert (found[1].name, found[1].state) == ("AISTACK_LOG__LEVL", FindingState.NOTE)
    assert found[1].help == "did you mean AISTACK_LOG__LEVEL?"


def test_directories_that_are_named(tmp_path: Path) -> None:
    half = tmp_path / "half"
    half.mkdir()
    (half / "model.bin").write_bytes(b"x")
    local = {"good": str(TINY), "half": str(half), "gone": str(tmp_path / "gone")}
    found = named(Config(models=ModelsSection(local=local)), FACTS)
    assert states(found) == {
        "models.local.good": FindingState.WORKS,
        "models.local.half": FindingState.BROKEN,
        "models.local.gone": FindingState.BROKEN,
    }
    assert found[1].says.endswith("lacks config.json")


@pytest.mark.parametrize(
    ("model", "state"),
    [
        ("small", FindingState.WORKS),
        ("auto", FindingState.WORKS),
        ("parakeet", FindingState.BROKEN),
        ("enormous", FindingState.BROKEN),
    ],
)
def test_the_model_to_preload(model: str, state: FindingState) -> None:
    assert states(named(Config(slots=SlotsSection(preload=model)), FACTS)) == {"slots.preload": state}


def test_the_root_of_the_internal_api(tmp_path: Path) -> None:
    (tmp_path / "tag").mkdir()
    section = InferenceSection(root=str(tmp_path), model="tag")
    found = named(Config(inference=section), FACTS)
    assert states(found) == {"inference.root": FindingState.WORKS, "inference.model": FindingState.WORKS}
    section = InferenceSection(root=str(tmp_path / "gone"), model="tag")
    assert set(states(named(Config(inference=section), FACTS)).values()) == {FindingState.BROKEN}
    found = named(Config(inference=InferenceSection(model="tag")), FACTS)
    assert states(found) == {"inference.model": FindingState.BROKEN}


def test_weights_that_are_here_and_not() -> None:
    (found,) = model_findings(FACTS)
    assert (found.name, found.state, found.help) == (
        "whisper-small",
        FindingState.MISSING,
        "aistack pull whisper-small",
    )
    unfetched = Facts({"whisper": evolve(WHISPER, fetches=False)})
    (found,) = model_findings(unfetched)
    assert (found.state, found.help) == (FindingState.MISSING, ""), "pull could not do it either"
    here = Facts(FACTS.engines, frozenset({"whisper-small", "whisper-tiny"}))
    assert states(model_findings(here)) == {
        "whisper-small": FindingState.WORKS,
        "whisper-tiny": FindingState.WORKS,
    }


# --- how it is told ----------------------------------------------------------------------------------

FOUND = [
    Finding("Engines", "Faster-Whisper", FindingState.WORKS, "faster-whisper 1.2"),
    Finding("Engines", "Parakeet", FindingState.MISSING, "not installed", "pip install nemo"),
    Finding("Ports", "127.0.0.1:1", FindingState.BROKEN, "needs more rights", facts={"a": 1}),
]


def test_the_page_is_aligned_and_sums_up() -> None:
    lines = page(FOUND).splitlines()
    assert lines[0].startswith("aistack ")
    assert lines[1:] == [
        "",
        "Engines",
        "  works    Faster-Whisper  faster-whisper 1.2",
        "  missing  Parakeet        not installed",
        "                           -> pip install nemo",
        "",
        "Ports",
        "  BROKEN   127.0.0.1:1  needs more rights",
        "",
        "1 broken: 127.0.0.1:1 (Ports).",
    ]
    assert page(FOUND[:2]).endswith("\nEverything that is configured works.")


def test_json_says_the_same() -> None:
    told = as_json(FOUND)
    assert told["ok"] is False and as_json(FOUND[:2])["ok"] is True
    assert told["findings"][1] == {
        "group": "Engines",
        "name": "Parakeet",
        "state": "missing",
        "says": "not installed",
        "help": "pip install nemo",
    }
    assert told["findings"][2]["facts"] == {"a": 1}
    assert broken(FOUND) == FOUND[2:]
    assert {each.group for each in FOUND} <= set(GROUPS)
