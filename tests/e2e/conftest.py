"""Servers shared by the tests of a session; after each test they must be as they were before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.server import AUDIO, Server, serving
from tests.e2e.talk import WAIT, transcribe


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
