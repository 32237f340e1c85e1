"""What the exceptions of the speech libraries mean, in kinds and in plain sentences.

CTranslate2 raises plain RuntimeErrors for everything, so they can only be told apart by their words;
the Hugging Face library has classes, recognised here by name so that nothing heavy is imported. The
words were collected from the libraries' own failures (tests provoke those that need no GPU).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from aistack.engines.base import EngineInfo, missing
from aistack.engines.out_of_memory import chain, is_out_of_memory, type_names
from aistack.errors import BackendFault, Code, ErrorKind, Fault, out_of_memory
from aistack.weights.hub import offline

CUDA_WORDS = ("cuda", "cublas", "cudnn", "libcu", "no kernel image", "nvrtc")

UNUSABLE_WORDS = ("is not found or cannot be loaded", "driver version is insufficient")
"""Of these, what says that CUDA never worked here; the rest may come from a card that broke down."""

DAMAGED_WORDS = (
    "unable to open file",
    "invalid payload",
    "is incomplete",
    "unsupported model binary version",
    "cannot load the vocabulary",
    "json.exception",
    "failed to initialize pocketsphinx",
    "vocabulary",
    "variable ",
    "unsupported model spec",
)

HUB_NAMES = frozenset(
    {
        "LocalEntryNotFoundError",
        "OfflineModeIsEnabled",
        "HfHubHTTPError",
        "EntryNotFoundError",
        "HFValidationError",
        "XetDownloadError",
        "FileMetadataError",
        "BrokenOff",
        "Damaged",
    }
)


def _contains(exc: BaseException, words: tuple[str, ...]) -> bool:
    text = str(exc).lower()
    return any(word in text for word in words)


def kind_of_library(exc: BaseException) -> ErrorKind | None:
    """The kind of an exception out of faster-whisper, CTranslate2, PyAV, the hub or PocketSphinx."""
    if is_out_of_memory(exc):
        return ErrorKind.OVERFLOW
    names = type_names(exc)
    if names & HUB_NAMES:
        return ErrorKind.NETWORK
    if "FFmpegError" in names:
        return None if isinstance(exc, OSError) else ErrorKind.MALFORMED
    if isinstance(exc, RuntimeError) and _contains(exc, DAMAGED_WORDS + UNUSABLE_WORDS):
        return ErrorKind.NETWORK
    return None


def load_fault(exc: BaseException, provider: str, environ: Mapping[str, str]) -> Fault:
    """Why a model could not be loaded, as a consumer will read it: 413 for memory, else 503."""
    if is_out_of_memory(exc):
        return out_of_memory(provider, "load the model")
    return Fault(Code.MODEL_LOAD_FAILED, _sentence(exc, environ), provider)


Explain = Callable[[BaseException, str, Mapping[str, str]], Fault]


@contextmanager
def loading(engine: EngineInfo, explain: Explain = load_fault) -> Iterator[None]:
    """How an engine loads or fetches: every exception of the block leaves it as a BackendFault.

    `explain` words those of libraries.
    """
    try:
        yield
    except BackendFault:
        raise
    except ModuleNotFoundError as exc:
        raise BackendFault(missing(engine)) from exc
    except Exception as exc:  # libraries raise whatever they like, down to Exception itself
        raise BackendFault(explain(exc, engine.provider, os.environ)) from exc


def _sentence(exc: BaseException, environ: Mapping[str, str]) -> str:
    causes = chain(exc)
    numbers = {cause.errno for cause in causes if isinstance(cause, OSError)}
    if errno.ENOSPC in numbers:
        return "The model could not be downloaded: there is no space left on the server's disk."
    if numbers & {errno.EACCES, errno.EPERM, errno.EROFS}:
        return "The model could not be read or stored: a folder on the server is not accessible."
    names = set().union(*(type_names(cause) for cause in causes))
    if "BrokenOff" in names:
        return (
            "The model could not be downloaded completely: the connection to the Hugging Face Hub broke "
            "off. The next attempt resumes it."
        )
    if "Damaged" in names:
        return "The downloaded model was damaged and has been deleted. Try again."
    if "GatedRepoError" in names:
        return "The model could not be downloaded: its owner requires a licence to be accepted first."
    if "RepositoryNotFoundError" in names:
        return "The model could not be downloaded: the Hugging Face Hub does not have or share it."
    if "OfflineModeIsEnabled" in names or (names & HUB_NAMES and offline(environ)):
        return "The model's weights are not on this server, and downloads are off (HF_HUB_OFFLINE)."
    if "HfHubHTTPError" in names and "LocalEntryNotFoundError" not in names:
        return "The model could not be downloaded: the Hugging Face Hub answered with an error."
    if names & HUB_NAMES or names & {"ConnectError", "TimeoutException", "TransportError"}:
        return (
            "The model's weights are not on this server, and they could not be downloaded: the Hugging "
            "Face Hub could not be reached."
        )
    if isinstance(exc, ImportError):
        return "The model could not be loaded: a library that the engine needs is broken on this server."
    if isinstance(exc, ValueError) and _contains(exc, ("compute type",)):
        return "The model could not be loaded: this device does not support the configured compute type."
    if isinstance(exc, ValueError) and _contains(exc, ("device",)):
        return "The model could not be loaded: the configured device is unknown."
    if _contains(exc, CUDA_WORDS):
        return (
            "The model could not be loaded: CUDA does not work on this server (no such GPU, or the "
            "driver or a CUDA library is missing or too old)."
        )
    if _contains(exc, DAMAGED_WORDS) or type(exc) is Exception:  # tokenizers raises nothing finer
        return "The model could not be loaded: its files are damaged or incomplete."
    return "The model could not be loaded. The server's log has the cause under this request's id."
