"""The whole service for schemathesis: scripted engines, doubles behind the relays, both keys set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.doubles.engines import FAMILIES
from tests.doubles.upstreams import Upstreams
from tests.http.gateway.service import Service, running
from tests.support.listening import ROOT

WEIGHTS = ROOT / "tests" / "data" / "models" / "tiny-nanochat"
KEY = "the-key"
ENGINES = {"whisper": FAMILIES["whisper"], "nanochat": "tests.doubles.engines:Talker"}


@contextmanager
def served(folder: Path) -> Iterator[Service]:
    """Every operation there is, with weights selected; every body that can be read is answered."""
    upstreams = Upstreams()
    try:
        with running(
            folder,
            ENGINES,
            relays=True,
            server={"api_keys": (KEY,)},
            **upstreams.addresses,
            inference={"api_key": KEY, "root": str(WEIGHTS), "model": "tiny-ada"},
        ) as service:
            upstreams.renew()
            service.quiet()
            yield service
    finally:
        upstreams.close()
