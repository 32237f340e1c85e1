"""Parakeet's failures: memory, broken and missing files, a hub that is not there."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from aistack.chunks import ModelSpec
from aistack.engines.parakeet import MODEL, Parakeet
from aistack.errors import Code, ErrorKind, fault_from
from tests.support.listening import AUDIO, listen
from tests.unit.engines.torch.conftest import NEMO, quiet_load
from tests.unit.engines.torch.failing import MEMORY_ERRORS, fault_of_load, memory_error

DIGITS = AUDIO / "digits-en.wav"


@pytest.mark.parametrize("kind", MEMORY_ERRORS)
def test_a114_out_of_memory_in_a_run(
    parakeet: Parakeet, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    error = memory_error(kind)

    def broken(*_args: object, **_options: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(parakeet._model, "transcribe", broken)
        with pytest.raises(type(error)) as caught:
            listen(parakeet, DIGITS)
    assert parakeet.kind_of(caught.value) is ErrorKind.OVERFLOW
    fault = fault_from(caught.value, parakeet.provider, parakeet.kind_of(caught.value))
    assert (fault.status, fault.code) == (413, Code.OUT_OF_MEMORY)
    assert listen(parakeet, DIGITS).segments


@pytest.mark.parametrize("kind", MEMORY_ERRORS)
def test_a114_out_of_memory_in_a_load(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    from nemo.collections.asr.models import ASRModel

    error = memory_error(kind)

    def broken(*_args: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(ASRModel, "restore_from", broken)
    assert fault_of_load(Parakeet(), NEMO)[:2] == (413, Code.OUT_OF_MEMORY)


def test_a_bug_is_not_taken_for_anything_else(parakeet: Parakeet) -> None:
    assert parakeet.kind_of(KeyError("x")) is None
    assert parakeet.kind_of(RuntimeError("shapes cannot be multiplied")) is None


@pytest.mark.parametrize("kind", ["text", "empty", "half", "no weights", "no settings", "another"])
def test_broken_files_are_a_503_that_says_so(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "model.nemo"
    whole = NEMO.read_bytes()
    match kind:
        case "no weights":
            repack(NEMO, path, "ckpt")
        case "no settings":
            repack(NEMO, path, "yaml")
        case "another":
            repack(NEMO, path, "nothing", {b"EncDecRNNTBPEModel": b"EncDecNothingAtAll"})
        case _:
            path.write_bytes({"text": b"hello", "empty": b"", "half": whole[: len(whole) // 2]}[kind])
    status, code, message = fault_of_load(Parakeet(), path)
    assert (status, code) == (503, Code.MODEL_LOAD_FAILED)
    assert "damaged" in message


def repack(
    source: Path, target: Path, leave_out: str, replace: dict[bytes, bytes] | None = None
) -> None:
    """A copy of a .nemo file without some members, or with other words in its settings."""
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for member in old.getmembers():
            file = old.extractfile(member)
            if file is None or leave_out in member.name:
                continue
            data = file.read()
            if member.name.endswith("yaml"):
                for one, other in (replace or {}).items():
                    data = data.replace(one, other)
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))


@pytest.mark.parametrize("source", ["/nowhere/model.nemo", "model.nemo", "nonsense", "../up"])
def test_a_missing_file_is_not_taken_for_a_hub_id(source: str) -> None:
    status, code, message = fault_of_load(Parakeet(), source)
    assert (status, code) == (503, Code.MODEL_LOAD_FAILED)
    assert "neither" in message


@pytest.mark.parametrize(
    "options", [{"window_s": 100, "overlap_s": 100}, {"least_s": 1}, {"window_s": "long"}]
)
def test_options_that_make_no_sense_are_told(options: dict[str, Any]) -> None:
    assert "options" in fault_of_load(Parakeet(), NEMO, **options)[2]


# --- the hub -----------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache, for our look at the disk and for the library."""
    from huggingface_hub import constants

    monkeypatch.setenv("HF_HOME", str(tmp_path))
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_weights_in_the_cache_need_no_network(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    spec, environ = ModelSpec(MODEL, MODEL), {"HF_HOME": str(cache.parent)}
    assert not Parakeet().weights(spec, environ)
    repository = cache / "models--nvidia--parakeet-tdt-0.6b-v3"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "parakeet-tdt-0.6b-v3.nemo").write_bytes(NEMO.read_bytes())
    engine = Parakeet()
    assert engine.weights(spec, environ)
    quiet_load(engine, MODEL)
    assert listen(engine, DIGITS).segments


def test_a85_downloads_that_are_off_are_told(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    status, code, message = fault_of_load(Parakeet(), MODEL)
    assert (status, code) == (503, Code.MODEL_LOAD_FAILED)
    assert "HF_HUB_OFFLINE" in message


def test_a85_a_hub_that_cannot_be_reached_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    status, code, message = fault_of_load(Parakeet(), MODEL)
    assert (status, code) == (503, Code.MODEL_LOAD_FAILED)
    assert "could not be reached" in message
