"""The assembled service over HTTP with the three real engines and the tiny models, in child processes.

NeMo and FunASR take 7 to 20 seconds to import, so there are two services for all tests, one that has
Parakeet in its slot and one that has SenseVoice, and the libraries called directly run beside them in
processes of their own; all of these start at once. What one service cannot show (another interpreter
for each engine, models in turn) is in test_apart.py. Where the libraries are not installed nothing is
collected, and a line at the end of the run says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from aistack.web.keys import SCHEDULER
from tests.http.engines.direct import Direct
from tests.http.engines.sounds import EN
from tests.http.gateway.conftest import left_alone
from tests.http.gateway.service import Service, running
from tests.support.engine_processes import pid_on
from tests.support.listening import ROOT, TINY
from tests.unit.engines.torch.conftest import _MISSING as MISSING
from tests.unit.engines.torch.conftest import NEMO, SENSEVOICE, VAD

BOUND_S = 200.0
"""An import may take a while where other work goes on."""

PARAKEET_ID, SENSEVOICE_ID = "nvidia/parakeet-tdt-0.6b-v3", "iic/SenseVoiceSmall"

ENGINES: dict[str, Any] = {
    "engines": {"threads": 1},
    "models": {"local": {"whisper-small": str(TINY)}},
    # A minute and more is one window, as for the library itself; six minutes have seams.
    "parakeet": {"weights": str(NEMO), "window_s": 70.0, "overlap_s": 10.0, "least_s": 20.0},
    "sensevoice": {"weights": str(SENSEVOICE), "vad": str(VAD), "vad_silence_ms": 400},
}
"""The tiny models in place of the real ones, and windows so short that a test can afford a seam."""

collect_ignore_glob = ["test_*.py"] if MISSING else []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Leaving tests out is said aloud, however quiet the run."""
    if MISSING:
        terminalreporter.write_line(
            f"tests/http/engines: NOT COLLECTED, not installed: {', '.join(MISSING)}"
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever test comes first waits for the imports."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.heavy)
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="package")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An environment for the engine processes: offline, an empty model cache, our modules importable."""
    folder = tmp_path_factory.mktemp("heavy")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("AISTACK_", "HF_"))]:
            patch.delenv(name)
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_HOME", str(folder / "no-weights"))
        patch.setenv("MODELSCOPE_CACHE", str(folder / "no-weights"))
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield folder


@pytest.fixture(scope="package")
def libraries(environment: Path) -> Iterator[dict[str, Direct]]:
    """The libraries without us, by the engine's name; their imports have begun."""
    with ExitStack() as stack:
        started = {name: Direct(name) for name in ("whisper", "parakeet", "sensevoice")}
        for direct in started.values():
            stack.callback(direct.close)
        yield started


@pytest.fixture(scope="package")
def services(environment: Path, libraries: dict[str, Direct]) -> Iterator[dict[str, Service]]:
    """By the engine that each has been told to load; the loads have begun."""
    with ExitStack() as stack:
        started = {
            name: stack.enter_context(
                running(
                    environment / name,
                    bound_s=BOUND_S,
                    **ENGINES,
                    slots={"preload": name},
                )
            )
            for name in ("parakeet", "sensevoice")
        }
        for name, service in started.items():
            first(service, name)
        yield started


def child(service: Service) -> int:
    """The process of the engine that is in the slot."""
    scheduler: Any = service.app[SCHEDULER]
    return pid_on(scheduler.steps, "cpu")


def first(service: Service, engine: str) -> None:
    """Wait until the engine that was told to load has been loaded."""
    answer = service.client.transcribe(EN, model=engine, headers={"Prefer": f"wait={BOUND_S:.0f}"})
    assert answer.status == 200, answer.text


@pytest.fixture
def parakeet(services: dict[str, Service]) -> Iterator[Service]:
    """All engines; Parakeet in the slot (unless a test has just taken it out)."""
    yield from left_alone(services["parakeet"])


@pytest.fixture
def sensevoice(services: dict[str, Service]) -> Iterator[Service]:
    """All engines; SenseVoice in the slot (unless a test has just taken it out)."""
    yield from left_alone(services["sensevoice"])
