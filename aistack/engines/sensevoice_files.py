"""SenseVoice's files: the model and its voice activity model, on disk or on a hub, and whether they fit.

FunASR takes a directory that is missing for a hub's id and asks the network, so it is only ever given
directories that exist; finding and fetching is done here. Nothing heavy is imported by the looks.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aistack.chunks import Report
from aistack.engines.out_of_memory import is_out_of_memory
from aistack.engines.torch_common import quiet_library, unloadable
from aistack.errors import BackendFault
from aistack.weights import cache, hub

MODEL = "iic/SenseVoiceSmall"
VAD = "iic/speech_fsmn_vad_zh-cn-16k-common-pytorch"

ON_HUGGINGFACE = {MODEL: "FunAudioLLM/SenseVoiceSmall", VAD: "funasr/fsmn-vad"}
"""The same models on the other hub."""

NEEDED = ("model.pt", "config.yaml", "am.mvn")
"""Files without which a directory is not a model."""

PATTERNS = ["*.pt", "*.yaml", "*.json", "*.mvn", "*.model"]

NOT_HERE = "The model's weights are not on this server, and "


def directory_of(source: str, where: str, provider: str, report: Report) -> Path:
    """The directory with a model's files, fetched from hub `where` (`ms` or `hf`) if it is nowhere on
    disk. Raises BackendFault with a plain sentence, or what a library raises."""
    if os.path.isdir(source):
        lacks = [name for name in NEEDED if not (Path(source) / name).is_file()]
        if lacks:
            raise BackendFault(unloadable(f"The model directory lacks {lacks[0]}.", provider))
        return Path(source)
    if source.count("/") != 1 or source.startswith(("/", ".", "~")):
        message = "The configured model is neither a directory that exists nor a hub id."
        raise BackendFault(unloadable(message, provider))
    found = on_disk(source, os.environ)
    if found is not None:
        return found
    if hub.offline(os.environ):
        raise BackendFault(unloadable(f"{NOT_HERE}downloads are off (HF_HUB_OFFLINE).", provider))
    if where == "hf":
        return hub.from_huggingface(ON_HUGGINGFACE.get(source, source), PATTERNS, report)
    return _from_modelscope(source, provider, report)


def _from_modelscope(source: str, provider: str, report: Report) -> Path:
    try:
        with quiet_library():
            return hub.from_modelscope(source, report)
    except ModuleNotFoundError:
        raise
    except Exception as exc:
        numbered = isinstance(exc, OSError) and exc.errno is not None
        if numbered or is_out_of_memory(exc):  # a full disk, a forbidden folder
            raise
        message = (
            f"{NOT_HERE}they could not be downloaded: ModelScope could not be reached, or does not "
            "have them."
        )
        raise BackendFault(unloadable(message, provider)) from exc


def lacks_weights(model: Any, path: Path) -> bool:
    """Whether a file lacks weights of the model's encoder: FunASR would leave them random."""
    import torch

    stored = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    for inner in ("state_dict", "model_state_dict", "model"):
        stored = stored.get(inner, stored)
    names = {name.removeprefix("module.") for name in stored}
    return any(name.startswith("encoder.") and name not in names for name in model.state_dict())


def on_disk(source: str, environ: Mapping[str, str]) -> Path | None:
    """A complete copy in ModelScope's or Hugging Face's cache, whichever fetched it."""
    other = ON_HUGGINGFACE.get(source, source)
    return cache.in_modelscope(source, NEEDED, environ) or cache.in_huggingface(other, NEEDED, environ)


def is_here(source: str, environ: Mapping[str, str]) -> bool:
    """Whether a directory or a hub id can be used without any network. Imports nothing."""
    return os.path.isdir(source) or on_disk(source, environ) is not None
