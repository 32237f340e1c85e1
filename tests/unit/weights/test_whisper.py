"""What is on disk is told from the Hugging Face cache's layout alone, fast and without its library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from aistack.chunks import ModelSpec
from aistack.engines.whisper import Whisper
from aistack.weights.cache import huggingface_cache, in_huggingface
from aistack.weights.whisper import NEEDED, SIZES, hub_id, lacking

FILES = tuple(name.replace("*", "txt") for name in NEEDED)
SMALL = "models--Systran--faster-whisper-small"


def put(
    cache: Path, repository: str = SMALL, revision: str = "a" * 40, without: str = "", ref: bool = True
) -> Path:
    """A copy in the cache, as the hub's library lays it out: files are links to blobs."""
    folder = cache / repository
    (folder / "blobs").mkdir(parents=True, exist_ok=True)
    (folder / "snapshots" / revision).mkdir(parents=True)
    for name in FILES:
        if name != without:
            (folder / "blobs" / name).write_bytes(b"x")
            (folder / "snapshots" / revision / name).symlink_to(f"../../blobs/{name}")
    if ref:
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs" / "main").write_text(revision)
    return folder / "snapshots" / revision


def test_the_table_is_the_librarys_own() -> None:
    from faster_whisper.utils import _MODELS

    assert {size: hub_id(size) for size in SIZES} == {size: _MODELS[size] for size in SIZES}
    assert len(SIZES) == 13
    with pytest.raises(ValueError, match="no such size"):
        hub_id("huge")


def on_disk(size: str, environ: dict[str, str]) -> bool:
    return Whisper().weights(ModelSpec(f"whisper-{size}", size), environ)


@pytest.mark.parametrize(
    ("environ", "below"),
    [
        ({"HF_HUB_CACHE": "{tmp}/a"}, "a"),
        ({"HUGGINGFACE_HUB_CACHE": "{tmp}/b"}, "b"),
        ({"HF_HUB_CACHE": "{tmp}/a", "HF_HOME": "{tmp}/c"}, "a"),
        ({"HF_HOME": "{tmp}/c"}, "c/hub"),
        ({"XDG_CACHE_HOME": "{tmp}/d"}, "d/huggingface/hub"),
        ({"HF_HOME": "{tmp}/c", "XDG_CACHE_HOME": "{tmp}/d"}, "c/hub"),
        ({"HOME": "{tmp}/e"}, "e/.cache/huggingface/hub"),
        ({"HOME": "{tmp}/e", "HF_HOME": "~/f"}, "e/f/hub"),
    ],
)
def test_where_the_cache_is(environ: dict[str, str], below: str, tmp_path: Path) -> None:
    environ = {name: value.format(tmp=tmp_path) for name, value in environ.items()}
    assert huggingface_cache(environ) == tmp_path / below
    assert not on_disk("small", environ)
    put(tmp_path / below)
    assert on_disk("small", environ)
    assert not on_disk("tiny", environ)


def test_the_hubs_library_agrees_on_where_it_is(tmp_path: Path) -> None:
    for name in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HUGGINGFACE_HUB_CACHE"):
        environ = {"HOME": str(tmp_path), "PATH": "", name: str(tmp_path / "x")}
        said = subprocess.run(
            [sys.executable, "-c", "from huggingface_hub.constants import HF_HUB_CACHE as c; print(c)"],
            env=environ,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert said.stdout.strip() == str(huggingface_cache(environ))


@pytest.mark.parametrize("without", FILES)
def test_an_interrupted_download_is_no_copy(without: str, tmp_path: Path) -> None:
    put(tmp_path, without=without)
    assert not on_disk("small", {"HF_HUB_CACHE": str(tmp_path)})


def test_what_a_directory_lacks_is_named(tmp_path: Path) -> None:
    assert lacking(tmp_path) == "model.bin"
    for name in FILES[:-1]:
        (tmp_path / name).write_bytes(b"x")
    assert lacking(tmp_path) == "vocabulary.json"
    (tmp_path / "vocabulary.txt").write_bytes(b"x")
    assert lacking(tmp_path) is None


def test_a_link_to_nowhere_is_no_file(tmp_path: Path) -> None:
    put(tmp_path)
    (tmp_path / SMALL / "blobs" / "model.bin").unlink()
    assert not on_disk("small", {"HF_HUB_CACHE": str(tmp_path)})


def test_the_revision_that_main_stands_for_comes_first(tmp_path: Path) -> None:
    environ = {"HF_HUB_CACHE": str(tmp_path)}
    old = put(tmp_path, revision="a" * 40, ref=False)
    assert in_huggingface("Systran/faster-whisper-small", NEEDED, environ) == old
    new = put(tmp_path, revision="b" * 40)
    assert in_huggingface("Systran/faster-whisper-small", NEEDED, environ) == new
    (new / "model.bin").unlink()
    assert in_huggingface("Systran/faster-whisper-small", NEEDED, environ) == old


def test_importing_the_backends_is_cheap() -> None:
    """They are imported by the gateway itself; the libraries only by an engine's own process."""
    heavy = {"numpy", "av", "faster_whisper", "ctranslate2", "huggingface_hub", "pocketsphinx", "tqdm"}
    code = (
        "import sys; from aistack.engines import sphinx, whisper; "
        "from aistack.chunks import ModelSpec; "
        "[engine().models() for engine in (whisper.Whisper, sphinx.Sphinx)]; "
        "whisper.Whisper().weights(ModelSpec('x', 'small'), {'HF_HUB_CACHE': '/nowhere'}); "
        f"print(sorted({heavy!r} & set(sys.modules)))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert said.stdout.strip() == "[]"
