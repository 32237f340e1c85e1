"""Foreign exceptions land in the right kind, and what a client reads is a plain sentence."""

from __future__ import annotations

import errno

import av
import pytest
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

from aistack.engines.causes import load_fault
from aistack.engines.out_of_memory import is_out_of_memory
from aistack.engines.sphinx import Sphinx
from aistack.engines.torch_common import kind_of_torch, torch_load_fault
from aistack.engines.whisper import Whisper
from aistack.errors import Code, ErrorKind
from aistack.weights.hub import offline


class RuntimeException(Exception):
    """ONNX Runtime's class of this name derives from Exception too."""


def led_to(exc: Exception, cause: Exception) -> Exception:
    """`exc` as it is raised while `cause` is being handled."""
    try:
        try:
            raise cause
        except type(cause):
            raise exc  # noqa: B904 - libraries do it so
    except type(exc) as raised:
        return raised


# Seen under a limit on the address space of the real libraries, at every margin where they failed.
UNDER_A_LIMIT = [
    RuntimeException("Non-zero status code returned while running Pad node. Status: std::bad_alloc"),
    ImportError("av/subtitles/stream.abi3.so: failed to map segment from shared object"),
    led_to(
        RuntimeError("Applying the VAD filter requires the onnxruntime package"),
        ImportError("onnxruntime.so: failed to map segment from shared object"),
    ),
    RuntimeError("Resource temporarily unavailable"),
    RuntimeError("can't start new thread"),
]
UNDER_A_LIMIT_TORCH = [
    RuntimeError("could not create a primitive"),
    led_to(
        TypeError("Can't instantiate abstract class ASRModel with abstract methods setup_training_data"),
        RuntimeError(
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 19199996 bytes."
        ),
    ),
]

MEMORY = [
    *UNDER_A_LIMIT,
    MemoryError(),
    RuntimeError("CUDA failed with error out of memory"),
    RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    RuntimeError("cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED"),
    RuntimeError("std::bad_alloc"),
    RuntimeError("Failed to allocate memory for requested buffer of size 41943040"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
]
LOADING = [
    RuntimeError("Unable to open file 'model.bin' in model '/srv/models/x'"),
    RuntimeError("Variable encoder/conv1/weight has an invalid payload size"),
    RuntimeError("File model.bin is incomplete: failed to read a buffer"),
    RuntimeError("Unsupported model binary version. This executable supports models with version v6"),
    RuntimeError("Cannot load the vocabulary from the model directory"),
    RuntimeError("[json.exception.type_error.305] cannot use operator[] with a string argument"),
    RuntimeError("CUDA failed with error CUDA driver version is insufficient for CUDA runtime version"),
    RuntimeError("Library libcublas.so.12 is not found or cannot be loaded"),
    RuntimeError("Failed to initialize PocketSphinx"),
    LocalEntryNotFoundError("Cannot find an appropriate cached snapshot folder"),
    OfflineModeIsEnabled("offline"),
    HFValidationError("Repo id must be in the form"),
]
AUDIO = [av.error.InvalidDataError(1094995529, "Invalid data"), av.error.ArgumentError(22, "Invalid")]
OTHERS = [
    RuntimeError("CUDA failed with error an illegal memory access was encountered"),
    RuntimeError("No model replica is available in this thread"),
    ValueError("generator already executing"),
    KeyError("x"),
    av.error.FileNotFoundError(2, "No such file"),
]
TABLE = [
    *((exc, ErrorKind.OVERFLOW) for exc in MEMORY),
    *((exc, ErrorKind.NETWORK) for exc in LOADING),
    *((exc, ErrorKind.MALFORMED) for exc in AUDIO),
    *((exc, None) for exc in OTHERS),
]


@pytest.mark.parametrize(("exc", "kind"), TABLE, ids=lambda value: repr(value)[:50])
def test_kind_of(exc: Exception, kind: ErrorKind | None) -> None:
    assert Whisper().kind_of(exc) is kind
    assert Sphinx().kind_of(exc) is kind


@pytest.mark.parametrize("exc", MEMORY, ids=repr)
def test_a114_memory_at_load_is_413(exc: Exception) -> None:
    assert is_out_of_memory(exc)
    fault = load_fault(exc, "Faster-Whisper", {})
    assert (fault.status, fault.code, fault.provider) == (413, Code.OUT_OF_MEMORY, "Faster-Whisper")


@pytest.mark.parametrize("exc", [*MEMORY, *UNDER_A_LIMIT_TORCH], ids=repr)
def test_a114_memory_as_pytorch_and_its_like_tell_it(exc: Exception) -> None:
    assert kind_of_torch(exc) is ErrorKind.OVERFLOW
    assert torch_load_fault(exc, "Parakeet", {}).code is Code.OUT_OF_MEMORY


def test_an_operation_that_there_is_not_is_no_lack_of_memory() -> None:
    exc = RuntimeError("could not create a primitive descriptor for a convolution primitive")
    assert kind_of_torch(exc) is None


def chained(cause: Exception) -> Exception:
    try:
        raise LocalEntryNotFoundError("Cannot find the requested files") from cause
    except LocalEntryNotFoundError as exc:
        return exc


SENTENCES = [
    (chained(ConnectionError("/root/x")), {}, "could not be reached"),
    (chained(ConnectionError("x")), {"HF_HUB_OFFLINE": "1"}, "downloads are off"),
    (chained(OfflineModeIsEnabled("x")), {}, "downloads are off"),
    (OSError(errno.ENOSPC, "No space left on device"), {}, "no space left"),
    (chained(PermissionError(errno.EACCES, "Permission denied: '/srv'")), {}, "not accessible"),
    (LOADING[0], {}, "damaged or incomplete"),
    (LOADING[6], {}, "CUDA does not work"),
    (LOADING[7], {}, "CUDA does not work"),
    (ValueError("Requested float16 compute type, but the target device"), {}, "compute type"),
    (ValueError("unsupported device tpu"), {}, "device is unknown"),
    (ImportError("libfoo.so: cannot open shared object file"), {}, "library that the engine needs"),
    (KeyError("surprise at /srv/x"), {}, "The server's log has the cause"),
]


@pytest.mark.parametrize(("exc", "environ", "words"), SENTENCES, ids=lambda value: repr(value)[:40])
def test_a85_load_failures_in_plain_words(exc: Exception, environ: dict[str, str], words: str) -> None:
    fault = load_fault(exc, "Faster-Whisper", environ)
    assert (fault.status, fault.code) == (503, Code.MODEL_LOAD_FAILED)
    assert words in fault.message
    assert "/" not in fault.message and "Error" not in fault.message and fault.message.endswith(".")


@pytest.mark.parametrize(("value", "yes"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_offline(value: str, yes: bool) -> None:
    assert offline({"HF_HUB_OFFLINE": value}) is yes
    assert offline({"TRANSFORMERS_OFFLINE": value}) is yes
