"""`aistack pull` as a process of its own, against a hub on loopback."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.http.pull.conftest import BOUND_S, Running, cached, command, environment
from tests.support.listening import ROOT
from tests.support.signals import as_at_a_terminal

WHOLE = {"config.json", "model.bin", "preprocessor_config.json", "tokenizer.json", "vocabulary.json"}


def test_fetched_then_here(hub: Running, tmp_path: Path) -> None:
    environ = environment(tmp_path, hub.double.url)
    done = command(environ, "pull", "tiny", "whisper-tiny")
    assert (done.returncode, done.stdout) == (0, "whisper-tiny: downloaded (7.21 MB).\n"), done.stderr
    assert cached(tmp_path) == WHOLE
    hub.double.calls.clear()
    again = command(environ, "pull", "WHISPER-tiny")
    assert (again.returncode, again.stdout, again.stderr) == (0, "whisper-tiny: already here.\n", "")
    assert hub.double.calls == []
    offline = command(environ | {"HF_HUB_OFFLINE": "1"}, "pull", "tiny")
    assert (offline.returncode, offline.stdout) == (0, "whisper-tiny: already here.\n")


@pytest.mark.interrupts
def test_killed_in_the_middle_and_gone_on(hub: Running, tmp_path: Path) -> None:
    """A process that dies half-way leaves what has arrived, and the next asks for the rest only."""
    hub.double.hold = 1_000_000
    hub.shut()
    environ = environment(tmp_path, hub.double.url)
    with as_at_a_terminal():
        first = subprocess.Popen(
            [sys.executable, "-m", "aistack", "pull", "tiny"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environ,
            cwd=ROOT,
        )
    try:
        assert first.stderr is not None
        told = iter(first.stderr.readline, "")
        assert any("MB of 7.21 MB" in line for line in told), "progress without a terminal is lines"
        first.send_signal(signal.SIGINT)
        _, said = first.communicate(timeout=BOUND_S)
    finally:
        first.kill()
        first.communicate()
    assert first.returncode == 130
    assert "the same command resumes" in said
    assert "model.bin" not in cached(tmp_path)
    (partial,) = tmp_path.glob("hf/hub/*/blobs/*.aistack.incomplete")
    size = partial.stat().st_size
    assert 0 < size < 4_000_000
    hub.double.hold = None
    hub.open()
    second = command(environ, "pull", "tiny")
    assert (second.returncode, second.stdout) == (0, "whisper-tiny: downloaded (7.21 MB).\n")
    assert f"bytes={size}-" in hub.double.ranges()
    assert cached(tmp_path) == WHOLE
    assert list(tmp_path.glob("hf/hub/*/blobs/*incomplete")) == []


def test_names_nobody_knows_and_names_without_weights(hub: Running, tmp_path: Path) -> None:
    environ = environment(tmp_path, hub.double.url)
    unknown = command(environ, "pull", "tiny", "whisper-enormous", "qwen3:4b")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "Unknown model: 'whisper-enormous'. Whisper sizes are: " in unknown.stderr
    assert "ollama pull" in unknown.stderr
    assert hub.double.calls == [], "nothing is fetched while a name is wrong"
    inside = command(environ, "pull", "pocketsphinx-en-us")
    assert (inside.returncode, inside.stderr) == (0, "")
    assert inside.stdout == "pocketsphinx-en-us: comes with its package; nothing to download.\n"


def test_a_failure_does_not_keep_the_others_back(hub: Running, tmp_path: Path) -> None:
    done = command(environment(tmp_path, hub.double.url), "pull", "base", "tiny")
    assert (done.returncode, done.stdout) == (1, "whisper-tiny: downloaded (7.21 MB).\n")
    why = "The model could not be downloaded: the Hugging Face Hub does not have or share it."
    assert f"aistack: whisper-base: {why}" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_terminal_sees_a_bar(hub: Running, tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "aistack", "pull", "tiny"],
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
            env=environment(tmp_path, hub.double.url, COLUMNS="100"),
            cwd=ROOT,
            timeout=BOUND_S,
            check=False,
        )
        os.set_blocking(ours, False)
        seen = os.read(ours, 65536).decode()
    finally:
        os.close(theirs)
        os.close(ours)
    assert (done.returncode, done.stdout) == (0, "whisper-tiny: downloaded (7.21 MB).\n")
    assert re.search(r"\rwhisper-tiny: 100%\|.*7\.21M/7\.21M", seen)
    assert seen.endswith("\r"), "the bar is taken away at the end"
