"""Which weights lie below the model root, and what keeps some of them from being served.

Only the standard library and milliseconds: `/models` and `/models/swap` ask in the gateway's own
process, on every call, so a new directory appears without a restart. A directory is a tag; what it
holds is either a nanochat checkpoint (`model_<step>.pt` with `meta_<step>.json`) or what the
Hugging Face libraries save (`config.json` with safetensors or bin files).
"""

from __future__ import annotations

import json
import os
import pickletools
import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

from aistack.contract.internal import TAG, TAG_MAX
from aistack.errors import BackendFault, Code, Fault, malformed

PROVIDER = "nanochat"
_PLAIN_TAG = re.compile(TAG)

_MODEL = re.compile(r"model_(\d+)\.pt")
_HF_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_CONFIG_KEYS = ("sequence_len", "vocab_size", "n_layer", "n_head", "n_kv_head", "n_embd")
_KEYS_MAX = 8 * 1024 * 1024
"""The index of a checkpoint is some kilobytes; a larger one is not one."""

KNOWN = re.compile(
    r"transformer\.wte\.weight|lm_head\.weight"
    r"|transformer\.h\.\d+\.(attn\.c_(q|k|v|proj)|mlp\.c_(fc|proj))\.weight"
)
"""The eight families of tensors of the 2025 architecture."""

COMPILED = "_orig_mod."
"""What compiling a model puts before the names of its tensors."""


@frozen
class Weights:
    """One directory of weights.

    `source` is nanochat or huggingface, `path` the directory; `problem` says in a sentence why it
    cannot be served, empty if nothing speaks against it (loading may still find something).
    """

    tag: str
    source: str
    path: str
    problem: str = ""


@frozen
class ModelRoot:
    """The folder that holds a directory of weights per tag; an empty path holds none. Reads the disk."""

    path: str

    def scan(self) -> list[Weights]:
        """As the function `scan`."""
        return scan(self.path) if self.path else []

    def find(self, tag: str) -> Weights:
        """As the function `find`."""
        return find(self.path, tag)


@frozen
class Checkpoint:
    """The files of a nanochat checkpoint's highest step."""

    step: int
    model: Path
    meta: Path


def tag_fault(tag: str) -> Fault | None:
    """Why a string cannot be a tag at all (400); None if it can. Looks at no file."""
    if not tag:
        return malformed("model_tag must not be empty.", param="model_tag")
    if len(tag) > TAG_MAX:
        return malformed(f"model_tag has more than {TAG_MAX} characters.", param="model_tag")
    if not tag.isprintable() or not _PLAIN_TAG.fullmatch(tag):
        return malformed(
            "model_tag must be the plain name of a folder of weights, without separators or '..'.",
            param="model_tag",
        )
    return None


def weights(root: str | os.PathLike[str]) -> list[Weights]:
    """The weights below `root` that would serve, sorted by tag; empty if the folder does not exist."""
    return [found for found in scan(root) if not found.problem]


def scan(root: str | os.PathLike[str]) -> list[Weights]:
    """All weights below `root`, those with a problem too, sorted by tag."""
    try:
        with os.scandir(root) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir())
    except OSError:
        return []
    valid = (name for name in names if tag_fault(name) is None)
    return [found for found in (inspect(name, Path(root) / name) for name in valid) if found]


def find(root: str | os.PathLike[str], tag: str) -> Weights:
    """The weights of a tag. Raises BackendFault: 400 for an invalid tag, 404 for one that is not there
    or cannot be served; nothing has been disturbed then."""
    fault = tag_fault(tag)
    if fault is not None:
        raise BackendFault(fault)
    found = inspect(tag, Path(root) / tag) if root and (Path(root) / tag).is_dir() else None
    if found is None:
        raise BackendFault(_not_found(f"Unknown model_tag: {tag}. GET /models lists the weights."))
    if found.problem:
        raise BackendFault(_not_found(f"The weights {tag} cannot be served: {found.problem}"))
    return found


def _not_found(message: str) -> Fault:
    return Fault(Code.MODEL_NOT_FOUND, message, param="model_tag", status=404)


def inspect(tag: str, path: Path) -> Weights | None:
    """What a directory holds; None if it holds no weights."""
    checkpoint = latest(path)
    if checkpoint is not None:
        return Weights(tag, "nanochat", str(path), checkpoint_problem(checkpoint, path))
    files = [path / name for name in _HF_WEIGHTS]
    if (path / "config.json").is_file() and any(file.is_file() for file in files):
        return Weights(tag, "huggingface", str(path), directory_problem(path))
    return None


def latest(path: Path) -> Checkpoint | None:
    """The highest step that has both of its files (compared as numbers, not as text)."""
    found = None
    for name in _names(path):
        match = _MODEL.fullmatch(name)
        if match is None:
            continue
        meta = path / f"meta_{match[1]}.json"
        step = int(match[1])
        if meta.is_file() and (found is None or step > found.step):
            found = Checkpoint(step, path / name, meta)
    return found


def size(path: Path) -> int:
    """Bytes of the weights that a load of this directory reads; 0 where there are none."""
    checkpoint = latest(path)
    try:
        if checkpoint is not None:
            return checkpoint.model.stat().st_size
        safe = [file.stat().st_size for file in path.glob("*.safetensors")]
        return sum(safe) or sum(file.stat().st_size for file in path.glob("*.bin"))
    except OSError:
        return 0


def _names(path: Path) -> Iterable[str]:
    try:
        return os.listdir(path)
    except OSError:
        return ()


def tokenizer_file(path: Path) -> Path | None:
    """The tokenizer of a nanochat checkpoint: its own, or the one its neighbours share."""
    for folder in (
        path / "tokenizer",
        path,
        path.parent / "tokenizer",
        path.parent.parent / "tokenizer",
    ):
        for name in ("tokenizer.pkl", "tokenizer.json"):
            if (folder / name).is_file():
                return folder / name
    return None


# --- what speaks against it -------------------------------------------------------------------------


def checkpoint_problem(checkpoint: Checkpoint, path: Path) -> str:
    """Why a nanochat checkpoint cannot be served, as far as its outside tells."""
    try:
        config = model_config(checkpoint.meta)
    except ValueError as exc:
        return str(exc)
    try:
        keys = set(tensor_names(checkpoint.model))
    except ValueError as exc:
        return str(exc)
    return (
        architecture_problem(keys, config)
        or (not keys and "its weights file is not a nanochat checkpoint.")
        or (tokenizer_file(path) is None and "its tokenizer is missing.")
        or ""
    )


def model_config(meta: Path) -> dict[str, Any]:
    """The `model_config` of a checkpoint's metadata. Raises ValueError with a sentence."""
    try:
        config = json.loads(meta.read_bytes())["model_config"]
        numbers = [config[key] for key in _CONFIG_KEYS]
    except (OSError, ValueError, LookupError, TypeError):
        raise ValueError("its metadata cannot be read.") from None
    if not all(type(number) is int and number > 0 for number in numbers):
        raise ValueError("its metadata has invalid values.")
    assert isinstance(config, dict)
    return config


def architecture_problem(keys: Iterable[str], config: dict[str, Any]) -> str:
    """The sentence for an architecture that is not the one of 2025; empty if it is.

    The metadata has no version, so the names of the tensors have to tell.
    """
    names = {key.removeprefix(COMPILED) for key in keys}
    strange = sorted(name for name in names if not KNOWN.fullmatch(name))
    if strange or "S" in str(config.get("window_pattern", "L")).upper():
        what = f"it has {strange[0]}" if strange else "it has sliding windows"
        return (
            "it has a newer nanochat architecture (from January 2026 on) than that of 2025, which is "
            f"the only one that the libraries here can run ({what})."
        )
    return ""


def tensor_names(path: Path) -> Iterator[str]:
    """The names of the tensors in a torch checkpoint, read without torch and without unpickling.

    A checkpoint is a zip archive whose index is a pickle; only the names in it are looked at.
    Raises ValueError with a sentence.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            index = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            if archive.getinfo(index).file_size > _KEYS_MAX:
                raise ValueError
            data = archive.read(index)
        names = [
            arg
            for opcode, arg, _ in pickletools.genops(data)
            if opcode.name in ("BINUNICODE", "SHORT_BINUNICODE") and isinstance(arg, str)
        ]
    except (OSError, ValueError, StopIteration, zipfile.BadZipFile, NotImplementedError):
        raise ValueError("its weights file is damaged or incomplete.") from None
    return (name for name in names if _is_tensor(name))


def _is_tensor(name: str) -> bool:
    """Names of tensors, among the other strings of the index ("storage", "cpu", "0")."""
    return "." in name or "lambda" in name


def directory_problem(path: Path) -> str:
    """Why a Hugging Face directory cannot be served, as far as its outside tells."""
    try:
        config = json.loads((path / "config.json").read_bytes())
    except (OSError, ValueError):
        return "its config.json cannot be read."
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        return "its config.json does not say what model it is."
    for file in sorted(path.glob("*.safetensors")):
        if not _is_whole(file):
            return "its weights file is damaged or incomplete."
    for name in _HF_WEIGHTS:
        if name.endswith(".index.json") and (path / name).is_file():
            return _missing_shard(path, path / name)
    return ""


def _is_whole(file: Path) -> bool:
    """Whether a safetensors file is as long as its header says."""
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if not 2 <= length <= size - 8:
                return False
            header = json.loads(opened.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False
    return bool(size == 8 + length + max(ends, default=0))


def _missing_shard(path: Path, index: Path) -> str:
    try:
        shards = set(json.loads(index.read_bytes())["weight_map"].values())
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return "the index of its weights cannot be read."
    return (
        "" if all((path / shard).is_file() for shard in shards) else "a part of its weights is missing."
    )
