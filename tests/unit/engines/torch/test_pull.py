"""`aistack pull` for the engines on PyTorch, with the hubs' real libraries against a hub on loopback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from aistack.engines import parakeet, sensevoice_files
from tests.http.pull.conftest import BOUND_S, MODELS, Running, command, environment, hub
from tests.support.listening import ROOT

__all__ = ["hub"]

NEMO = MODELS / "parakeet-digits.nemo"


@pytest.fixture
def both(hub: Running, tmp_path: Path) -> Running:
    """Parakeet and SenseVoice, the latter with weights large enough to be stopped in."""
    double = hub.double
    double.add(parakeet.MODEL, NEMO)
    double.rename(parakeet.MODEL, NEMO.name, "parakeet-tdt-0.6b-v3.nemo")
    folder = tmp_path / "offered"
    folder.mkdir()
    for file in (MODELS / "sensevoice-digits").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "model.pt").write_bytes(bytes(range(256)) * 24_000)
    double.add(sensevoice_files.MODEL, folder)
    double.add(sensevoice_files.VAD, MODELS / "fsmn-vad-digits")
    return hub


def test_parakeet_is_fetched_and_found(both: Running, tmp_path: Path) -> None:
    environ = environment(tmp_path, both.double.url)
    done = command(environ, "pull", "parakeet")
    assert (done.returncode, done.stderr.count("\n") <= 3) == (0, True), done.stderr
    assert done.stdout == f"{parakeet.MODEL}: downloaded (2.44 MB).\n"
    environ["HF_HUB_OFFLINE"] = "1"
    assert command(environ, "pull", "parakeet").stdout == f"{parakeet.MODEL}: already here.\n"


def test_sensevoice_is_fetched_with_its_vad_and_found(both: Running, tmp_path: Path) -> None:
    """In the cache of ModelScope's own library, whose newest layout the look at the disk must know."""
    environ = environment(tmp_path, both.double.url)
    done = command(environ, "pull", "sensevoice")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{sensevoice_files.MODEL}: downloaded (")
    both.double.calls.clear()
    again = command(environ, "pull", "sensevoice")
    assert (again.returncode, again.stdout) == (0, f"{sensevoice_files.MODEL}: already here.\n")
    assert both.double.calls == []


def test_sensevoice_stopped_in_the_middle_and_gone_on(both: Running, tmp_path: Path) -> None:
    both.double.hold = 4_500_000
    both.shut()
    environ = environment(tmp_path, both.double.url)
    first = subprocess.Popen(
        [sys.executable, "-m", "aistack", "pull", "sensevoice"],
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
        cwd=ROOT,
    )
    try:
        assert first.stderr is not None
        assert any("MB of" in line for line in iter(first.stderr.readline, ""))
    finally:
        first.kill()
        first.communicate(timeout=BOUND_S)
    both.double.hold = None
    both.open()
    both.double.calls.clear()
    done = command(environ, "pull", "sensevoice")
    assert done.returncode == 0, done.stderr
    ranges = [text for text in both.double.ranges() if text]
    assert len(ranges) == 1
    assert 1_000_000 <= int(ranges[0].removeprefix("bytes=").rstrip("-")) <= 4_600_000


@pytest.mark.parametrize("why", ["nobody there", "not there", "offline"])
def test_what_a_modelscope_that_fails_is_told_as(why: str, both: Running, tmp_path: Path) -> None:
    environ = environment(tmp_path, both.double.url)
    if why == "nobody there":
        environ["MODELSCOPE_ENDPOINT"] = "http://127.0.0.1:9"
    elif why == "offline":
        environ["HF_HUB_OFFLINE"] = "1"
    else:
        both.double.repositories.clear()
    done = command(environ, "pull", "sensevoice")
    assert (done.returncode, done.stdout) == (1, "")
    words = "downloads are off" if why == "offline" else "ModelScope could not be reached, or does not"
    assert words in done.stderr
