"""Libraries are loaded in a process of their own, and whatever they do is told in a sentence."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from aistack import __version__
from aistack.doctor.engines import Probed, audio_findings, judged, probe
from aistack.doctor.findings import FindingState
from tests.doubles import patients
from tests.support.listening import ROOT

CPU = ("auto",)


async def looked(name: str, limit_s: float = 60.0, own: str = "") -> Any:
    """The finding for one patient."""
    engine: Any = getattr(patients, name)()
    probed = await probe(own or sys.executable, f"tests.doubles.patients:{name}", limit_s)
    return judged(engine, probed, own, False, CPU)


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


async def test_one_that_works() -> None:
    found = await looked("Healthy")
    assert (found.state, found.group, found.name) == (FindingState.WORKS, "Engines", "Healthy")
    assert found.says.startswith("attrs ") and "loaded in" in found.says


async def test_one_that_is_not_installed_and_how_to_get_it() -> None:
    found = await looked("Missing")
    assert (found.state, found.says, found.help) == (
        FindingState.MISSING,
        "not installed",
        f"{shlex.quote(sys.executable)} -m pip install healthy",
    )
    assert found.facts["missing"] == ["no_such_library"]


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
async def test_one_that_crashes_takes_only_its_process() -> None:
    found = await looked("Segfault")
    assert found.state is FindingState.BROKEN
    assert found.says == "its libraries crashed while loading (SIGSEGV)"
    assert found.help == f"{shlex.quote(sys.executable)} -m pip install --force-reinstall healthy"


async def test_one_that_hangs_is_given_up() -> None:
    found = await looked("Hanging", limit_s=1.5)
    assert (found.state, found.says) == (
        FindingState.BROKEN,
        "its libraries did not load within 1.5 s",
    )


async def test_one_that_ends_its_process() -> None:
    found = await looked("Leaving")
    assert found.state is FindingState.BROKEN
    assert found.says.endswith("exited with code 7: and this is the last line")
    found = await looked("Quitting")
    assert found.says == "its libraries cannot be loaded: SystemExit: not on this machine"


async def test_one_that_cannot_be_loaded_is_told_by_its_first_cause() -> None:
    found = await looked("Unloadable")
    assert found.state is FindingState.BROKEN
    assert "its libraries cannot be loaded: OSError: libc10_cuda_made_up.so" in found.says


async def test_an_interpreter_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sets one says that the engine is there: what is missing then is broken."""
    found = await looked("Missing", own=sys.executable)
    assert found.state is FindingState.BROKEN
    assert found.says == f"no_such_library cannot be found (in {sys.executable})"
    assert found.help == f"{shlex.quote(sys.executable)} -m pip install healthy"
    nowhere = str(tmp_path / "python")
    found = await looked("Healthy", own=nowhere)
    assert found.state is FindingState.BROKEN
    assert "cannot be started: No such file" in found.says and nowhere in found.says
    monkeypatch.delenv("PYTHONPATH")
    monkeypatch.chdir(tmp_path)
    empty = tmp_path / "empty"
    empty.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -S -E "$@"\n')
    empty.chmod(0o755)
    found = await looked("Healthy", own=str(empty))
    assert found.says == f"aistack is not installed (in {empty})"


def test_another_version_there() -> None:
    found = judged(patients.Healthy(), Probed({"version": "0.0.1"}), "/venv/python", False, CPU)
    assert found.state is FindingState.BROKEN
    assert found.says == f"its interpreter has aistack 0.0.1, not {__version__} (in /venv/python)"
    assert found.help == f"/venv/python -m pip install {shlex.quote(str(ROOT))}"


@pytest.mark.parametrize(
    ("cuda", "card", "devices", "state", "words"),
    [
        (True, True, ("auto",), FindingState.WORKS, "uses the GPU"),
        (False, False, ("auto",), FindingState.WORKS, "runs on the CPU"),
        (False, True, ("auto",), FindingState.NOTE, "runs on the CPU"),
        (False, True, ("cuda:0",), FindingState.BROKEN, "runs on the CPU"),
        (False, True, ("cpu",), FindingState.WORKS, "runs on the CPU"),
        (None, True, ("cuda:0",), FindingState.WORKS, "loaded in"),
    ],
)
def test_a_card_that_the_libraries_cannot_use(
    cuda: bool | None, card: bool, devices: tuple[str, ...], state: FindingState, words: str
) -> None:
    told = {"version": __version__, "versions": {"torch": "2"}, "seconds": 1.0, "cuda": cuda}
    found = judged(patients.Healthy(), Probed(told), "", card, devices)
    assert found.state is state
    assert words in found.says
    assert bool(found.help) is (state is not FindingState.WORKS)


async def test_audio_is_read_and_written_by_the_real_libraries() -> None:
    reading, writing = await audio_findings()
    assert (reading.state, writing.state) == (FindingState.WORKS, FindingState.WORKS)
    assert "MP3 sample was decoded" in reading.says
    assert writing.says.endswith("mp3 opus aac flac wav pcm")


async def test_audio_without_its_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "av.py").write_text("raise ImportError('libavcodec.so is not there')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    reading, _ = await audio_findings()
    assert reading.state is FindingState.BROKEN
    assert "libavcodec.so is not there" in reading.says
    assert reading.help.startswith(
        f"{shlex.quote(sys.executable)} -m pip install --force-reinstall 'av<20,"
    )
