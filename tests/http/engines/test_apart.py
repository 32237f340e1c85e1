"""A84, A115, A117 and `python =`: each heavy engine in a virtual environment of its own, one gateway.

Both environments reach this one's packages through a path file, but one of them cannot import FunASR
and the other cannot import NeMo, so neither could do the other's work. (Two environments that really
have different packages are made by `python -m contrib.dev.two_environments`.)
"""

from __future__ import annotations

import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from aistack.jobs.model import Transition
from aistack.jobs.states import Op, Phase
from tests.http.engines.conftest import BOUND_S, ENGINES, PARAKEET_ID, SENSEVOICE_ID, child
from tests.http.engines.sounds import EN, EN_TEXT, spoken
from tests.http.gateway.conftest import left_alone
from tests.http.gateway.service import Service, running

ABSENT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "{library}":
            raise ModuleNotFoundError("No module named " + repr(name), name=name)
sys.meta_path.insert(0, Absent())
"""


def environment_without(library: str, folder: Path) -> Path:
    """A virtual environment that has all that this one has, but for a library; its interpreter."""
    venv.create(folder, symlinks=True, with_pip=False)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / version / "site-packages"
    (packages / "absent.py").write_text(ABSENT.format(library=library))
    paths = dict.fromkeys(sysconfig.get_paths()[key] for key in ("purelib", "platlib"))
    lines = [f"import site; site.addsitedir({path!r})" for path in paths]
    (packages / "here.pth").write_text("\n".join([*lines, "import absent", ""]))
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def homes(environment: Path) -> dict[str, Path]:
    """The interpreter of each engine."""
    return {
        "parakeet": environment_without("funasr", environment / "for-parakeet"),
        "sensevoice": environment_without("nemo", environment / "for-sensevoice"),
    }


@pytest.fixture(scope="module")
def apart_(environment: Path, homes: dict[str, Path]) -> Iterator[Service]:
    sections = {
        **ENGINES,
        **{name: {**ENGINES[name], "python": str(home)} for name, home in homes.items()},
        "slots": {"idle_unload_s": 1.0},
    }
    with running(environment / "apart", bound_s=BOUND_S, **sections) as service:
        yield service


@pytest.fixture
def apart(apart_: Service) -> Iterator[Service]:
    yield from left_alone(apart_)


def test_a115_a117_models_in_turn_each_in_an_environment_of_its_own(
    apart: Service, homes: dict[str, Path]
) -> None:
    """Parakeet, then SenseVoice, which takes its place, and is itself gone once idle."""
    before = 0
    for name, model in (("parakeet", PARAKEET_ID), ("sensevoice", SENSEVOICE_ID)):
        since = apart.mark
        call = apart.client.send(EN, model=name)
        apart.reached("running", since)
        pid = child(apart)
        assert psutil.Process(pid).cmdline()[0] == str(homes[name])
        listed = {each for each, entry in apart.listed().items() if entry.get("loaded")}
        answer = call.answer()
        assert (answer.status, answer.headers["x-aistack-model"]) == (200, model)
        assert spoken(answer.json["text"]) == EN_TEXT
        assert listed == {model}, "one model at a time"
        assert pid != before
        assert not before or not psutil.pid_exists(before), "the one before is gone with its process"
        before = pid
    unloaded(apart, SENSEVOICE_ID, before)


def unloaded(service: Service, model: str, pid: int) -> None:
    """The idle time passes without a request: an unload, and no process."""

    def unload(each: Transition) -> bool:
        return each.job.op is Op.UNLOAD and each.job.route.model == model and each.target is Phase.DONE

    with service.changed:
        assert service.changed.wait_for(lambda: any(map(unload, service.transitions)), BOUND_S)
    service.quiet()
    assert not psutil.pid_exists(pid)
    assert not [each for each, entry in service.listed().items() if entry.get("loaded")]


def test_a84_a_library_that_its_interpreter_lacks(environment: Path, homes: dict[str, Path]) -> None:
    """The environments are swapped: neither engine finds its library, and both say what to install."""
    swapped = {
        "parakeet": {**ENGINES["parakeet"], "python": str(homes["sensevoice"])},
        "sensevoice": {**ENGINES["sensevoice"], "python": str(homes["parakeet"])},
    }
    with running(environment / "swapped", bound_s=BOUND_S, **{**ENGINES, **swapped}) as service:
        for name, provider, library in (
            ("parakeet", "Parakeet", "nemo_toolkit"),
            ("sensevoice", "SenseVoice", "funasr"),
        ):
            answer = service.client.transcribe(EN, model=name)
            assert (answer.status, answer.error["kind"]) == (503, "network")
            assert (answer.error["provider"], answer.error["code"]) == (provider, "backend_missing")
            assert library in answer.error["message"]
            assert "retry-after" not in answer.headers
        assert service.client.transcribe(EN, model="whisper-small").status == 200
