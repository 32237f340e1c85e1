"""Large files go on where they stopped: through the real library's session, against the double."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections import namedtuple
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

from aistack.chunks import DOWNLOAD, Progress
from aistack.engines.causes import load_fault
from aistack.errors import Code
from aistack.weights import hub as hub_module
from aistack.weights import resume
from aistack.weights.cache import repository_folder
from tests.http.pull.conftest import TINY_ID, Running
from tests.support.listening import TINY

MODEL = TINY / "model.bin"
SIZE = MODEL.stat().st_size


@pytest.fixture(autouse=True)
def here(hub: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library of this process knows the double and an empty cache only, and nobody waits long."""
    template = hub.double.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", hub.double.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(resume, "PAUSE_S", 0.0)
    monkeypatch.setattr(hub_module, "POLL_S", 0.01)


def fetched(patterns: tuple[str, ...] = ("model.bin",)) -> Path:
    return hub_module.from_huggingface(TINY_ID, patterns, lambda _: None)


def partial(tmp_path: Path) -> Path:
    name = hashlib.sha256(MODEL.read_bytes()).hexdigest() + resume.PARTIAL
    return repository_folder(TINY_ID, {"HF_HUB_CACHE": str(tmp_path / "hub")}) / "blobs" / name


def said(exc: BaseException) -> str:
    fault = load_fault(exc, "Faster-Whisper", {})
    assert (fault.status, fault.code) == (503, Code.MODEL_LOAD_FAILED)
    return fault.message


def test_cut_twice_and_gone_on_with_ranges(hub: Running) -> None:
    hub.double.cut = [1_000_000, 700_000]
    directory = fetched()
    assert (directory / "model.bin").read_bytes() == MODEL.read_bytes()
    first, *rest = hub.double.ranges()
    starts = [int(text.removeprefix("bytes=").rstrip("-")) for text in rest]
    assert first == ""
    assert len(starts) == 2
    assert 0 < starts[0] <= 1_000_000 < starts[1] <= 1_700_000


def test_cut_too_often_is_kept_for_the_next_time(hub: Running, tmp_path: Path) -> None:
    hub.double.cut = [600_000] + [0] * resume.TRIES
    with pytest.raises(resume.BrokenOff) as broken:
        fetched()
    assert "The next attempt resumes it" in said(broken.value)
    kept = partial(tmp_path).stat().st_size
    assert 0 < kept <= 600_000
    hub.double.calls.clear()
    assert (fetched() / "model.bin").read_bytes() == MODEL.read_bytes()
    assert hub.double.ranges() == [f"bytes={kept}-"]
    assert not partial(tmp_path).exists()


def test_an_answer_that_ignores_the_range_begins_anew(hub: Running, tmp_path: Path) -> None:
    hub.double.whole = True
    partial(tmp_path).parent.mkdir(parents=True)
    partial(tmp_path).write_bytes(b"x" * 1000)
    assert (fetched() / "model.bin").read_bytes() == MODEL.read_bytes()


def test_a_partial_file_that_is_too_long_is_none(hub: Running, tmp_path: Path) -> None:
    partial(tmp_path).parent.mkdir(parents=True)
    partial(tmp_path).write_bytes(bytes(SIZE + 1))
    assert (fetched() / "model.bin").read_bytes() == MODEL.read_bytes()
    assert hub.double.ranges() == [""]


def test_bytes_that_are_wrong_are_thrown_away(hub: Running, tmp_path: Path) -> None:
    hub.double.lie = "model.bin"
    with pytest.raises(resume.Damaged) as damaged:
        fetched()
    assert "was damaged and has been deleted" in said(damaged.value)
    assert not partial(tmp_path).exists()
    hub.double.lie = ""
    assert (fetched() / "model.bin").read_bytes() == MODEL.read_bytes()


def test_a_whole_partial_file_needs_no_request_for_its_bytes(hub: Running, tmp_path: Path) -> None:
    """Stopped between the last byte and the new name."""
    partial(tmp_path).parent.mkdir(parents=True)
    shutil.copyfile(MODEL, partial(tmp_path))
    assert (fetched() / "model.bin").read_bytes() == MODEL.read_bytes()
    assert hub.double.ranges() == []


def test_progress_counts_what_was_there_before(hub: Running, tmp_path: Path) -> None:
    hub.double.hold = 2_000_000
    hub.shut()
    partial(tmp_path).parent.mkdir(parents=True)
    partial(tmp_path).write_bytes(MODEL.read_bytes()[:1_500_000])
    told: list[Progress] = []

    def report(progress: Progress) -> None:
        told.append(progress)
        if progress.done >= 1_500_000:
            hub.open()

    hub_module.from_huggingface(TINY_ID, ("model.bin",), report)
    assert {progress.unit for progress in told} == {DOWNLOAD}
    known = [progress for progress in told if progress.total]
    assert known[0].done >= 1_500_000
    assert {progress.total for progress in known} == {float(SIZE)}
    assert told[-1] == Progress(float(SIZE), float(SIZE), DOWNLOAD)
    assert hub.double.ranges() == ["bytes=1500000-"]


def test_a_token_is_for_the_hub_alone(hub: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large files lie on another host behind a redirect; the double refuses a token there."""
    hub.double.token = "hf_made_up"
    with pytest.raises(GatedRepoError) as gated:
        fetched()
    assert "requires a licence" in said(gated.value)
    monkeypatch.setenv("HF_TOKEN", "hf_made_up")
    assert (fetched() / "model.bin").read_bytes() == MODEL.read_bytes()


def test_a_hub_that_fails_for_a_moment(hub: Running) -> None:
    path = f"/{TINY_ID}/resolve/{'c' * 40}/model.bin"
    hub.double.fail(path, "status", status=503, times=2)
    assert (fetched() / "model.bin").read_bytes() == MODEL.read_bytes()
    hub.double.fail(f"/api/models/{TINY_ID}", "status", status=500)
    with pytest.raises(HfHubHTTPError) as failed:
        fetched()
    assert said(failed.value) == (
        "The model could not be downloaded: the Hugging Face Hub answered with an error."
    )


def test_a_disk_without_room_is_told_before_anything_is_fetched(
    hub: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, SIZE - 1))
    with pytest.raises(OSError, match="No space left") as full:
        fetched()
    assert full.value.errno == errno.ENOSPC
    assert said(full.value) == (
        "The model could not be downloaded: there is no space left on the server's disk."
    )
    assert hub.double.ranges() == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_a_disk_that_becomes_full(hub: Running, tmp_path: Path) -> None:
    """Where the partial file should grow stands a device that refuses every byte."""
    partial(tmp_path).parent.mkdir(parents=True)
    partial(tmp_path).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as full:
        fetched()
    assert full.value.errno == errno.ENOSPC
    assert len(hub.double.ranges()) == 1, "another attempt would not help"


def test_what_the_library_itself_makes_of_it(hub: Running) -> None:
    """Whatever came through here is a cache the library is content with, offline."""
    directory = fetched(("*.json", "model.bin"))
    asked = len(hub.double.calls)
    found = huggingface_hub.snapshot_download(TINY_ID, local_files_only=True)
    assert Path(found) == directory
    assert len(hub.double.calls) == asked
    (repository,) = huggingface_hub.scan_cache_dir(constants.HF_HUB_CACHE).repos
    assert repository.repo_id == TINY_ID
    assert {file.file_name for revision in repository.revisions for file in revision.files} == {
        path.name for path in TINY.iterdir()
    }
