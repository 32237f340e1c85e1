"""What the engines on PyTorch share: recognising its failures, stopping a forward pass, devices.

Imports nothing heavy itself: the gateway's own process reads these modules too.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from aistack.contract.devices import Device
from aistack.engines.causes import HUB_NAMES, load_fault
from aistack.engines.out_of_memory import is_out_of_memory, type_names
from aistack.errors import BackendFault, Code, ErrorKind, Fault


class RunStopped(Exception):
    """Raised inside a library's forward pass by our hooks, because the run was cancelled."""


# --- failures ----------------------------------------------------------------------------------------

DAMAGED_TYPES = frozenset(
    {
        "ReadError",  # tarfile: a .nemo file is a tar
        "CompressionError",
        "BadZipFile",
        "UnpicklingError",
        "YAMLError",
        "OmegaConfBaseException",
        "ConfigAttributeError",
        "UnsafeTargetError",  # NeMo: the file names a class that is not one of its models
        "EOFError",
        "UnicodeDecodeError",
        "FileNotFoundError",
        "AssertionError",
        "KeyError",
        "IndexError",
        "ValueError",
        "TypeError",
        "AttributeError",
        "UnboundLocalError",
    }
)
"""What loading broken weights ends in; only ever looked at while files of a model are being read."""

DAMAGED_WORDS = (
    "state_dict",
    "pytorchstreamreader",
    "invalid magic number",
    "central directory",
    "is not registered",
    "error locating target",
    "error instantiating",
    "size mismatch",
    "sentencepiece",
    "internal: ",
    "weights only load failed",
)

DAMAGED = (
    "The model could not be loaded: its files are damaged, incomplete, or belong to another kind of "
    "model."
)


def kind_of_torch(exc: BaseException) -> ErrorKind | None:
    """The kind of an exception out of PyTorch; None if it is a bug, or not PyTorch's."""
    return ErrorKind.OVERFLOW if is_out_of_memory(exc) else None


def torch_load_fault(exc: BaseException, provider: str, environ: Mapping[str, str]) -> Fault:
    """As `load_fault`, for libraries on PyTorch: over damaged files they raise anything."""
    names = type_names(exc)
    text = str(exc).lower()
    damaged = names & DAMAGED_TYPES or any(word in text for word in DAMAGED_WORDS)
    if damaged and not names & HUB_NAMES and not is_out_of_memory(exc):
        return Fault(Code.MODEL_LOAD_FAILED, DAMAGED, provider)
    return load_fault(exc, provider, environ)


def unloadable(message: str, provider: str) -> Fault:
    """A model that an engine refuses to load: 503."""
    return Fault(Code.MODEL_LOAD_FAILED, message, provider)


def imported(warm: Callable[[], None], provider: str) -> None:
    """Import an engine's libraries. One that is there but broken raises whatever it likes: a 503."""
    try:
        warm()
    except ModuleNotFoundError:
        raise
    except Exception as exc:
        if is_out_of_memory(exc):
            raise
        message = (
            "The model could not be loaded: a library that the engine needs is broken on this server."
        )
        raise BackendFault(unloadable(message, provider)) from exc


def bad_options(provider: str) -> BackendFault:
    """Options of the configuration that cannot be meant: 503."""
    message = "The model could not be loaded: its configured options are invalid."
    return BackendFault(unloadable(message, provider))


def no_translation(provider: str) -> Fault:
    """The 400 for `translate` with an engine that only transcribes."""
    return Fault(
        Code.INVALID_FIELD,
        f"{provider} cannot translate. Use a Whisper model for that, or `auto`.",
        provider,
        param="translate",
    )


# --- stopping ----------------------------------------------------------------------------------------


def hook(modules: Iterable[Any], check: Callable[[], None]) -> None:
    """Have `check` called before each forward pass of each module; what it raises ends the pass.

    Not while a CUDA graph is being captured: an exception there would leave the stream unusable.
    """
    import torch

    cuda = torch.cuda.is_available()

    def before(_module: Any, _inputs: Any) -> None:
        if not (cuda and torch.cuda.is_current_stream_capturing()):
            check()

    for module in modules:
        module.register_forward_pre_hook(before)


def hook_every_op(module: Any, check: Callable[[], None]) -> None:
    """Have `check` called before every operation inside a module that has no parts to hook.

    For stretches of few, long operations outside of any CUDA graph, such as features of long audio.
    """
    from torch.overrides import TorchFunctionMode

    class Watching(TorchFunctionMode):  # type: ignore[misc]  # PyTorch is not read by mypy
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            check()
            return func(*args, **(kwargs or {}))

    forward = module.forward

    def watching(*args: Any, **kwargs: Any) -> Any:
        with Watching():
            return forward(*args, **kwargs)

    module.forward = watching


# --- surroundings ------------------------------------------------------------------------------------


def torch_device(device: str) -> Device:
    """A slot's device as PyTorch knows it; `auto` is the first card, or the processor."""

    def cuda_works() -> bool:
        import torch

        return bool(torch.cuda.is_available())

    return Device.parse(device).resolved(cuda_works).hardware


def set_threads(configured: int) -> int:
    """CPU threads: as configured, as OMP_NUM_THREADS says, or up to four. Returns their number."""
    import torch

    if configured > 0:
        torch.set_num_threads(configured)
    elif not os.environ.get("OMP_NUM_THREADS"):
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        torch.set_num_threads(min(cores or 1, 4))
    return int(torch.get_num_threads())


@contextlib.contextmanager
def quiet_library() -> Iterator[None]:
    """Let a library print nothing to stdout and log errors only; leave the root logger as it was."""
    root = logging.getLogger()
    level, handlers, disabled = root.level, list(root.handlers), logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(disabled)
        root.setLevel(level)
        for handler in list(root.handlers):
            if handler not in handlers:
                root.removeHandler(handler)
