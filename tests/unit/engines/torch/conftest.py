"""The engines on PyTorch with their real libraries and tiny models, each loaded once.

Where NeMo and FunASR are not installed these tests are not collected, and a line at the end of the
run says so: they need 2 GB of packages, which the base set of tests does without.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from aistack.chunks import ModelSpec
from tests.support.listening import AUDIO, ROOT, samples_of, write_wav

if TYPE_CHECKING:
    from aistack.engines.parakeet import Parakeet
    from aistack.engines.sensevoice import SenseVoice

MODELS = ROOT / "tests" / "data" / "models"
NEMO = MODELS / "parakeet-digits.nemo"
SENSEVOICE = MODELS / "sensevoice-digits"
VAD = MODELS / "fsmn-vad-digits"
LONG = AUDIO / "digits-en-long.wav"

_LIBRARIES = ("nemo", "lhotse", "funasr", "kaldi_native_fbank")
_MISSING = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]

collect_ignore_glob = ["test_*.py"] if _MISSING else []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Leaving tests out is said aloud, however quiet the run."""
    if _MISSING:
        terminalreporter.write_line(
            f"tests/unit/engines/torch: NOT COLLECTED, not installed: {', '.join(_MISSING)}"
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """NeMo, FunASR and what they import warn at every step, and take their time to be imported."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore"))
            item.add_marker(pytest.mark.heavy)
            item.add_marker(pytest.mark.timeout(300))


def quiet_load(engine: Any, source: Path | str, **options: Any) -> None:
    engine.load(ModelSpec(engine.name, str(source), "cpu", {"threads": 1, **options}), lambda _: None)


@pytest.fixture(scope="session")
def parakeet() -> Parakeet:
    from aistack.engines.parakeet import Parakeet

    engine = Parakeet()
    quiet_load(engine, NEMO)
    return engine


@pytest.fixture(scope="session")
def sensevoice() -> SenseVoice:
    from aistack.engines.sensevoice import SenseVoice

    engine = SenseVoice()
    quiet_load(engine, SENSEVOICE, vad=str(VAD), vad_silence_ms=400)
    return engine


@pytest.fixture(scope="session")
def quarter_hour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The long recording fifteen times over: 949 s, more than a window and its least tail."""
    path = tmp_path_factory.mktemp("long") / "quarter-hour.wav"
    return write_wav(path, np.tile(samples_of(LONG), 15))
