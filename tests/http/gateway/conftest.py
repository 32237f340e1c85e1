"""The services of the acceptance suite: few, and shared, so that engines are loaded a few times only.

`whisper`: the real Whisper engine on the tiny model, under the name whisper-small. `sphinx`: the real
engines with no Whisper weights and no network, so that the embedded engine serves. `fakes`: scripted
stand-ins of the three families. `relays`: one such stand-in, with chat and speech served by doubles
of Ollama and vLLM-Omni (`upstreams`). Nothing here may reach for the network.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.engines import FAMILIES
from tests.doubles.upstreams import Busy, Hold, Upstreams
from tests.http.gateway.service import Gates, Loads, Service, running
from tests.support.listening import ROOT, TINY


@pytest.fixture(scope="package")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An environment for the engine processes: offline, an empty model cache, our tests importable."""
    folder = tmp_path_factory.mktemp("contract")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("AISTACK_", "HF_"))]:
            patch.delenv(name)
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_HOME", str(folder / "no-weights"))
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("AISTACK_FAKE_GATES", str(folder / "gates"))
        patch.setenv("AISTACK_FAKE_LOADS", str(folder / "loads.json"))
        yield folder


@pytest.fixture(scope="package")
def gates_(environment: Path) -> Iterator[Gates]:
    gates = Gates(environment / "gates")
    yield gates
    gates.close()


@pytest.fixture
def gates(gates_: Gates) -> Gates:
    gates_.clear()
    return gates_


@pytest.fixture
def loads(environment: Path) -> Iterator[Loads]:
    loads = Loads(environment / "loads.json")
    yield loads
    loads.clear()


@pytest.fixture(scope="package")
def whisper_(environment: Path) -> Iterator[Service]:
    local = {"whisper-small": str(TINY)}
    with running(environment / "whisper", models={"local": local}) as service:
        yield service


@pytest.fixture(scope="package")
def sphinx_(environment: Path) -> Iterator[Service]:
    with running(environment / "sphinx") as service:
        yield service


@pytest.fixture(scope="package")
def fakes_(environment: Path, gates_: Gates) -> Iterator[Service]:
    with running(environment / "fakes", FAMILIES, engines={"kill_after_s": 0.5}) as service:
        yield service


@pytest.fixture(scope="package")
def upstreams_() -> Iterator[Upstreams]:
    upstreams = Upstreams()
    yield upstreams
    upstreams.close()


@pytest.fixture(scope="package")
def relays_(environment: Path, gates_: Gates, upstreams_: Upstreams) -> Iterator[Service]:
    with running(
        environment / "relays",
        {"whisper": FAMILIES["whisper"]},
        relays=True,
        engines={"kill_after_s": 0.5},
        **upstreams_.addresses,
    ) as service:
        yield service


def left_alone(service: Service) -> Iterator[Service]:
    """The service, which must be as quiet and as clean after the test as before."""
    yield service
    service.quiet()
    assert service.spooled == []
    assert service.snapshot.slots[0].holder is None


@pytest.fixture
def whisper(whisper_: Service) -> Iterator[Service]:
    yield from left_alone(whisper_)


@pytest.fixture
def sphinx(sphinx_: Service) -> Iterator[Service]:
    yield from left_alone(sphinx_)


@pytest.fixture
def fakes(fakes_: Service) -> Iterator[Service]:
    yield from left_alone(fakes_)


@pytest.fixture
def relays(relays_: Service, upstreams: Upstreams) -> Iterator[Service]:
    yield from left_alone(relays_)


@pytest.fixture
def upstreams(upstreams_: Upstreams, relays_: Service) -> Iterator[Upstreams]:
    """The doubles behind `relays`, as new: healthy, their gates open, no call on record."""
    relays_.quiet()
    upstreams_.renew()
    yield upstreams_


@pytest.fixture
def hold(relays: Service, upstreams: Upstreams, gates: Gates) -> Iterator[Hold]:
    """Hold the slot of `relays` with a job of the named kind; let go at the end if the test did not."""
    held: list[Busy] = []

    def begin(kind: str) -> Busy:
        held.append(Busy(kind, relays, upstreams, gates))
        return held[-1]

    yield begin
    for busy in held:
        busy.call.close()


@pytest.fixture(params=["whisper", "sphinx"])
def real(request: pytest.FixtureRequest) -> Service:
    """Every real engine."""
    service: Service = request.getfixturevalue(request.param)
    return service
