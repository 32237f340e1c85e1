"""What the exceptions of the speech libraries mean, in kinds and in plain sentences.

CTranslate2 raises plain RuntimeErrors for everything, so they can only be told apart by their words;
the Hugging Face library has classes, recognised here by name so that nothing heavy is imported. The
words were collected from the libraries' own failures (tests provoke those that need no GPU).
"""

from __future__ import annotations

import errno
from collections.abc import Mapping

from aistack.errors import Code, ErrorKind, Fault, out_of_memory

MEMORY_WORDS = (
    "out of memory",
    "alloc_failed",
    "bad_alloc",
    "failed to allocate",
    "cannot allocate memory",
    "memory allocation",
    "failed to map segment from shared object",  # the loader, for a library imported late
)

THREAD_WORDS = ("resource temporarily unavailable", "can't start new thread")
"""A thread could not be started: there was no room for its stack."""

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


def _names(exc: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(exc).__mro__}


def chain(exc: BaseException | None) -> list[BaseException]:
    """An exception and what caused it, nearest first."""
    found: list[BaseException] = []
    while exc is not None and exc not in found:
        found.append(exc)
        exc = exc.__cause__ or exc.__context__
    return found


def _says(exc: BaseException, words: tuple[str, ...]) -> bool:
    text = str(exc).lower()
    return any(word in text for word in words)


def is_out_of_memory(exc: BaseException) -> bool:
    """Whether memory ran out, on the card or in the machine, here or in what led to this exception.

    What led to it counts because libraries try something else then, and fail at that.
    """
    return any(map(tells_of_memory, chain(exc)))


def tells_of_memory(exc: BaseException) -> bool:
    """The same for one exception, whatever led to it."""
    if isinstance(exc, MemoryError):
        return True
    if isinstance(exc, RuntimeError) and _says(exc, THREAD_WORDS):
        return True
    told = isinstance(exc, RuntimeError | OSError | ImportError) or "RuntimeException" in _names(exc)
    return told and _says(exc, MEMORY_WORDS)  # ONNX Runtime's RuntimeException is no RuntimeError


def kind_of_library(exc: BaseException) -> ErrorKind | None:
    """The kind of an exception out of faster-whisper, CTranslate2, PyAV, the hub or PocketSphinx."""
    if is_out_of_memory(exc):
        return ErrorKind.OVERFLOW
    names = _names(exc)
    if names & HUB_NAMES:
        return ErrorKind.NETWORK
    if "FFmpegError" in names:
        return None if isinstance(exc, OSError) else ErrorKind.MALFORMED
    if isinstance(exc, RuntimeError) and _says(exc, DAMAGED_WORDS + UNUSABLE_WORDS):
        return ErrorKind.NETWORK
    return None


def load_fault(exc: BaseException, provider: str, environ: Mapping[str, str]) -> Fault:
    """Why a model could not be loaded, as a consumer will read it: 413 for memory, else 503."""
    if is_out_of_memory(exc):
        return out_of_memory(provider, "load the model")
    return Fault(Code.MODEL_LOAD_FAILED, _sentence(exc, environ), provider)


def _sentence(exc: BaseException, environ: Mapping[str, str]) -> str:
    causes = chain(exc)
    numbers = {cause.errno for cause in causes if isinstance(cause, OSError)}
    if errno.ENOSPC in numbers:
        return "The model could not be downloaded: there is no space left on the server's disk."
    if numbers & {errno.EACCES, errno.EPERM, errno.EROFS}:
        return "The model could not be read or stored: a folder on the server is not accessible."
    names = set().union(*(_names(cause) for cause in causes))
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
    if isinstance(exc, ValueError) and _says(exc, ("compute type",)):
        return "The model could not be loaded: this device does not support the configured compute type."
    if isinstance(exc, ValueError) and _says(exc, ("device",)):
        return "The model could not be loaded: the configured device is unknown."
    if _says(exc, CUDA_WORDS):
        return (
            "The model could not be loaded: CUDA does not work on this server (no such GPU, or the "
            "driver or a CUDA library is missing or too old)."
        )
    if _says(exc, DAMAGED_WORDS) or type(exc) is Exception:  # tokenizers raises nothing finer
        return "The model could not be loaded: its files are damaged or incomplete."
    return "The model could not be loaded. The server's log has the cause under this request's id."


def offline(environ: Mapping[str, str]) -> bool:
    """Whether the environment forbids the Hugging Face library to use the network."""
    value = environ.get("HF_HUB_OFFLINE") or environ.get("TRANSFORMERS_OFFLINE") or ""
    return value.upper() in {"1", "ON", "YES", "TRUE"}
