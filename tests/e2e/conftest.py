"""Servers shared by the tests of a session; after each test they must be as they were before."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.upstreams import Upstreams
from tests.e2e.server import AUDIO, Server, serving
from tests.e2e.talk import BOUND_S, WAIT, transcribe


@pytest.fixture(scope="session")
def fake_server() -> Iterator[Server]:
    with serving() as server:
        server.warm()
        yield server


@pytest.fixture(scope="session")
def real_server() -> Iterator[Server]:
    with serving(fake=False) as server:
        server.probe = transcribe((AUDIO / "digits-en.wav").read_bytes(), WAIT, model="whisper-small")
        server.warm()
        yield server


@pytest.fixture
def fake(fake_server: Server) -> Iterator[Server]:
    """The scripted engine; afterwards: slot free, no file, no process, thread or descriptor more."""
    yield fake_server
    fake_server.loads("")
    fake_server.check()


@pytest.fixture
def real(real_server: Server) -> Iterator[Server]:
    """The tiny Whisper; afterwards as above."""
    yield real_server
    real_server.check()


@pytest.fixture(scope="session")
def upstreams_() -> Iterator[Upstreams]:
    upstreams = Upstreams()
    yield upstreams
    upstreams.close()


@pytest.fixture(scope="session")
def relay_server(upstreams_: Upstreams) -> Iterator[Server]:
    """The tiny Whisper, and doubles of Ollama and vLLM-Omni; at the end of the session as at rest."""
    addresses = {
        "AISTACK_OLLAMA__URL": upstreams_.ollama.url,
        "AISTACK_QWEN_TTS__URL": upstreams_.omni.url,
    }
    with serving(fake=False, environ=addresses) as server:
        server.probe = transcribe((AUDIO / "digits-en.wav").read_bytes(), WAIT, model="whisper-small")
        server.warm()
        yield server
        server.check()


@pytest.fixture
def upstreams(upstreams_: Upstreams) -> Iterator[Upstreams]:
    """The doubles as new."""
    upstreams_.renew()
    yield upstreams_
    upstreams_.renew()


@pytest.fixture
def relays(relay_server: Server, upstreams: Upstreams) -> Server:
    return relay_server


# --- node ----------------------------------------------------------------------------------------------

Run = Callable[[Path, Server, str], Any]
INSTALL_S = 600


def command(*argv: str, cwd: Path | None = None, bound_s: float = INSTALL_S) -> str:
    """The output of a command that must succeed."""
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=bound_s, check=False)
    assert done.returncode == 0, f"{' '.join(argv[:3])} failed:\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def node_program() -> str:
    """The node program, installed with npm where it is missing."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        if not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("apt-get") is None:
            pytest.skip("node not installed")
        command("apt-get", "update", "-qq")
        command("apt-get", "install", "-qq", "-y", "--no-install-recommends", "nodejs", "npm")
    return "node"


@pytest.fixture(scope="session")
def node_folder(node_program: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where scripts find openai from npm."""
    folder = tmp_path_factory.mktemp("node")
    command(
        "npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), "openai@latest", cwd=folder
    )
    return folder


@pytest.fixture(scope="session")
def run_node(node_folder: Path) -> Run:
    """Runs a case of a client script."""

    def run(script: Path, server: Server, case: str) -> Any:
        client = shutil.copy(script, node_folder)
        return json.loads(
            command(
                "node", str(client), server.url, case, str(AUDIO), cwd=node_folder, bound_s=2 * BOUND_S
            )
        )

    return run
