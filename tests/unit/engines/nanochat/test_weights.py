"""What is listed, what may be swapped in, and what is refused before anything is disturbed."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from aistack.engines.nanochat import weights as nano_weights
from aistack.engines.nanochat.weights import Weights, find, latest, scan, weights
from aistack.errors import BackendFault, Code
from tests.unit.engines.nanochat.conftest import ROOT


def copy(source: Path, target: Path) -> Path:
    for file in source.rglob("*"):
        if file.is_file():
            to = target / file.relative_to(source)
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(file.read_bytes())
    return target


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four weights, the shared tokenizer folder, and things that are none."""
    root = tmp_path / "root"
    for tag in ("tiny-ada", "tiny-bo-hf"):
        copy(ROOT / tag, root / tag)
    (root / "tokenizer").mkdir()
    (root / "empty").mkdir()
    (root / "notes.txt").write_text("x")
    (root / ".hidden").mkdir()
    (root / "ends in dot.").mkdir()
    return root


def tags(found: list[Weights]) -> list[str]:
    return [entry.tag for entry in found]


def test_b64_sorted_by_tag_and_new_directories_appear(root: Path) -> None:
    assert tags(weights(root)) == ["tiny-ada", "tiny-bo-hf"]
    copy(ROOT / "tiny-bo", root / "a-new-one")
    assert tags(weights(root)) == ["a-new-one", "tiny-ada", "tiny-bo-hf"]


def test_b62_source_and_path_say_where_the_weights_are(root: Path) -> None:
    ada, bo = weights(root)
    assert (ada.source, ada.path) == ("nanochat", str(root / "tiny-ada"))
    assert (bo.source, bo.path) == ("huggingface", str(root / "tiny-bo-hf"))


def test_b65_the_shared_tokenizer_folder_is_no_tag(root: Path) -> None:
    copy(ROOT / "tiny-ada", root / "tokenizer")
    assert "tokenizer" not in tags(scan(root))
    assert code(root, "tokenizer") is Code.INVALID_FIELD


def test_a_root_that_is_not_there_has_no_weights(tmp_path: Path) -> None:
    assert weights(tmp_path / "nowhere") == []
    assert code(tmp_path / "nowhere", "x") is Code.MODEL_NOT_FOUND


def code(root: Path, tag: str) -> Code:
    with pytest.raises(BackendFault) as caught:
        find(root, tag)
    assert caught.value.fault.status == (400 if caught.value.fault.code is Code.INVALID_FIELD else 404)
    assert str(root) not in caught.value.fault.message
    return caught.value.fault.code


@pytest.mark.parametrize(
    "tag",
    [
        "",
        ".",
        "..",
        "../root/tiny-ada",
        "../../etc",
        "/etc",
        "a/b",
        "a\\b",
        "a\0b",
        "a\nb",
        "C:x",
        "a..b",
        ".hidden",
        " x",
        "x ",
        "x.",
        "~root",
        "-rf",
        "x" * 101,
        "a\u2028b",
        "a\u202eb",
    ],
)
def test_b81_what_is_no_name_is_refused(root: Path, tag: str) -> None:
    assert code(root, tag) is Code.INVALID_FIELD


@pytest.mark.parametrize("tag", ["nothing", "empty", "notes.txt", "x" * 100, "TINY-ADA-2"])
def test_b77_b78_an_unknown_tag_is_refused_without_a_load(root: Path, tag: str) -> None:
    assert code(root, tag) is Code.MODEL_NOT_FOUND


def test_b66_a_refused_tag_is_not_listed_afterwards(root: Path) -> None:
    before = weights(root)
    code(root, "nothing")
    code(root, "../x")
    assert weights(root) == before


def test_a_known_tag_is_found(root: Path) -> None:
    assert find(root, "tiny-ada") == weights(root)[0]


@pytest.mark.parametrize("size", [0, 7, 100, 500_000])
@pytest.mark.parametrize("file", ["tiny-ada/model_000021.pt", "tiny-bo-hf/model.safetensors"])
def test_b79_truncated_weights_are_not_listed(root: Path, file: str, size: int) -> None:
    path = root / file
    path.write_bytes(path.read_bytes()[:size])
    tag = file.split("/")[0]
    assert tag not in tags(weights(root))
    assert tag in tags(scan(root))
    assert code(root, tag) is Code.MODEL_NOT_FOUND


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("tiny-ada/meta_000021.json", b"{", "metadata cannot be read"),
        ("tiny-ada/meta_000021.json", b'{"model_config": {}}', "metadata cannot be read"),
        ("tiny-bo-hf/config.json", b"[]", "does not say what model"),
        ("tiny-bo-hf/config.json", b"{", "cannot be read"),
        ("tiny-bo-hf/model.safetensors.index.json", b"{", "index"),
        ("tiny-bo-hf/model.safetensors.index.json", b'{"weight_map": {"a": "b.st"}}', "missing"),
    ],
)
def test_damaged_side_files_are_not_listed(root: Path, file: str, content: bytes, says: str) -> None:
    (root / file).write_bytes(content)
    tag = file.split("/")[0]
    (problem,) = [entry.problem for entry in scan(root) if entry.tag == tag]
    assert says in problem
    assert tag not in tags(weights(root))


def test_metadata_with_impossible_numbers(root: Path) -> None:
    meta = root / "tiny-ada" / "meta_000021.json"
    value = json.loads(meta.read_bytes())
    for bad in (0, -1, "64", 1.5, True, None):
        value["model_config"]["n_layer"] = bad
        meta.write_text(json.dumps(value))
        assert "tiny-ada" not in tags(weights(root))


def test_b96_a_newer_architecture_is_seen_from_outside(root: Path) -> None:
    """Its tensors are known by their names, read from the archive's index without unpickling it."""
    path = root / "tiny-ada" / "model_000021.pt"
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            if name.endswith("data.pkl"):
                data = data.replace(b"transformer.wte.weight", b"transformer.smear_gate")
            archive.writestr(name, data)
    (entry,) = [entry for entry in scan(root) if entry.tag == "tiny-ada"]
    assert "newer nanochat architecture" in entry.problem
    assert "smear_gate" in entry.problem
    assert code(root, "tiny-ada") is Code.MODEL_NOT_FOUND


def test_a_checkpoint_without_a_tokenizer(root: Path) -> None:
    file = root / "tiny-ada" / "tokenizer" / "tokenizer.pkl"
    shared = root / "tokenizer" / "tokenizer.pkl"
    file.rename(shared)
    assert nano_weights.tokenizer_file(root / "tiny-ada") == shared
    assert "tiny-ada" in tags(weights(root))
    shared.unlink()
    assert "tiny-ada" not in tags(weights(root))


def test_the_highest_complete_step(tmp_path: Path) -> None:
    for step in ("000999", "001000", "1000000"):
        (tmp_path / f"model_{step}.pt").touch()
        (tmp_path / f"meta_{step}.json").touch()
    (tmp_path / "model_2000000.pt").touch()
    (tmp_path / "optim_3000000_rank0.pt").touch()
    found = latest(tmp_path)
    assert found is not None
    assert found.step == 1_000_000


def test_looking_at_the_weights_needs_no_heavy_library() -> None:
    """It happens in the gateway's own process, on every call."""
    program = (
        "import sys; from aistack.engines.nanochat import engine, weights;"
        f"assert len(weights.weights({str(ROOT)!r})) == 4;"
        "print([m for m in ('torch', 'transformers', 'tokenizers', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=True)
    assert done.stdout.strip() == b"[]"
