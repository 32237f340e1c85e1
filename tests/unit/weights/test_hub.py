"""Finding models in the caches of two hubs, and fetching with progress."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from aistack.chunks import DOWNLOAD, Progress
from aistack.weights import hub
from aistack.weights.cache import in_huggingface, in_modelscope
from tests.unit.engines.test_whisper_load import REPOSITORY, REVISION, Hub

BOUND_S = 30.0


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "POLL_S", 0.01)


# --- on disk -----------------------------------------------------------------------------------------


def put(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(b"x")
    return folder


def test_the_revision_of_main_comes_first(tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--nvidia--ear"
    environ = {"HF_HOME": str(tmp_path)}
    assert in_huggingface("nvidia/ear", ("a", "b"), environ) is None
    put(repository / "snapshots" / "1", "a", "b")
    other = put(repository / "snapshots" / "2", "a", "b")
    put(repository / "snapshots" / "3", "a")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("2\n")
    assert in_huggingface("nvidia/ear", ("a", "b"), environ) == other


def test_an_incomplete_copy_is_none(tmp_path: Path) -> None:
    put(tmp_path / "hub" / "models--nvidia--ear" / "snapshots" / "1", "a")
    put(tmp_path / "models" / "iic" / "ear", "a")
    environ = {"HF_HOME": str(tmp_path), "MODELSCOPE_CACHE": str(tmp_path)}
    assert in_huggingface("nvidia/ear", ("a", "b"), environ) is None
    assert in_modelscope("iic/ear", ("a", "b"), environ) is None


@pytest.mark.parametrize(
    "place",
    [
        "models/iic--ear-1.5/snapshots/master",
        "models/iic--ear-1.5/snapshots/v2",
        "models/iic/ear-1___5",
        "models/iic/ear-1.5",
        "hub/models/iic/ear-1___5",
        "hub/iic/ear-1.5",
        "iic/ear-1.5",
    ],
)
def test_all_layouts_of_modelscope(tmp_path: Path, place: str) -> None:
    found = put(tmp_path / place, "a")
    assert in_modelscope("iic/ear-1.5", ("a",), {"MODELSCOPE_CACHE": str(tmp_path)}) == found


def test_modelscopes_master_comes_first(tmp_path: Path) -> None:
    snapshots = tmp_path / "models" / "iic--ear" / "snapshots"
    put(snapshots / "a", "x")
    found = put(snapshots / "master", "x")
    assert in_modelscope("iic/ear", ("x",), {"MODELSCOPE_CACHE": str(tmp_path)}) == found


def test_modelscope_below_the_home_directory(tmp_path: Path) -> None:
    found = put(tmp_path / ".cache" / "modelscope" / "hub" / "models" / "iic" / "ear", "a")
    assert in_modelscope("iic/ear", ("a",), {"HOME": str(tmp_path)}) == found


# --- fetching ----------------------------------------------------------------------------------------


def test_progress_only_when_bytes_have_arrived_and_in_this_thread() -> None:
    go = threading.Event()
    sizes = iter([0, 0, 10, 10, 30])
    reports: list[Progress] = []
    threads: set[int] = set()

    def arrived() -> int:
        try:
            return next(sizes)
        except StopIteration:
            go.set()
            return 30

    def report(progress: Progress) -> None:
        reports.append(progress)
        threads.add(threading.get_ident())

    def download() -> str:
        assert go.wait(BOUND_S)
        return "done"

    assert hub.with_progress(download, arrived, lambda: 40.0, report) == "done"
    assert [(one.done, one.total) for one in reports] == [(0, None), (10, 40), (30, 40)]
    assert {one.unit for one in reports} == {DOWNLOAD}
    assert threads == {threading.get_ident()}


def test_what_a_download_raises_is_raised() -> None:
    def download() -> None:
        raise OSError(28, "no space left")

    with pytest.raises(OSError, match="no space"):
        hub.with_progress(download, lambda: 0, lambda: None, lambda _: None)


def test_size_of_counts_files_at_any_depth(tmp_path: Path) -> None:
    put(tmp_path / "a" / "b", "c", "d.incomplete")
    assert hub.size_of(tmp_path) == 2
    assert hub.size_of(tmp_path / "nowhere") == 0


@pytest.fixture
def loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub in this process, and an empty cache."""
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    yield server
    server.shutdown()
    server.server_close()
    thread.join(10)


def test_only_the_files_that_match_are_fetched_and_then_found(loopback: Hub, tmp_path: Path) -> None:
    directory = hub.from_huggingface(REPOSITORY, ["config.json", "tok*.json"], lambda _: None)
    assert sorted(path.name for path in directory.iterdir()) == ["config.json", "tokenizer.json"]
    assert directory.name == REVISION
    assert in_huggingface(REPOSITORY, ("config.json",), {"HF_HOME": str(tmp_path)}) == directory
    assert in_huggingface(REPOSITORY, ("model.bin",), {"HF_HOME": str(tmp_path)}) is None
