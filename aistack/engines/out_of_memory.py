"""Whether memory ran out: on a card or in the machine, as the libraries below the engines tell it.

Most of them raise plain RuntimeErrors, so it can only be known by their words; classes are recognised
by name, so that nothing heavy is imported. The words were collected from the libraries' own failures
(tests provoke those that need no GPU).
"""

from __future__ import annotations

WORDS = (
    "out of memory",
    "alloc_failed",
    "bad_alloc",
    "failed to allocate",
    "cannot allocate memory",
    "can't allocate memory",  # torch's allocator for the processor
    "defaultcpuallocator: not enough memory",
    "unable to allocate",  # NumPy
    "memory allocation",
    "cuda_error_out_of_memory",
    "failed to map segment from shared object",  # the loader, for a library imported late
)

THREAD_WORDS = ("resource temporarily unavailable", "can't start new thread")
"""A thread could not be started: there was no room for its stack."""

TYPES = frozenset({"OutOfMemoryError"})
"""torch.OutOfMemoryError, also torch.cuda's."""

TELLING = frozenset({"RuntimeException", "CudaAPIError"})
"""Classes whose words count although they are not RuntimeErrors: ONNX Runtime's, and Numba's, which
NeMo uses."""


def type_names(exc: BaseException) -> set[str]:
    """The names of an exception's class and of all its bases."""
    return {kind.__name__ for kind in type(exc).__mro__}


def chain(exc: BaseException | None) -> list[BaseException]:
    """An exception and what caused it, nearest first."""
    found: list[BaseException] = []
    while exc is not None and exc not in found:
        found.append(exc)
        exc = exc.__cause__ or exc.__context__
    return found


def is_out_of_memory(exc: BaseException) -> bool:
    """Whether memory ran out, here or in what led to this exception.

    What led to it counts because libraries try something else then, and fail at that: NeMo, for one,
    tries another class of model, and raises a TypeError.
    """
    return any(map(_is_lack_of_memory, chain(exc)))


def _is_lack_of_memory(exc: BaseException) -> bool:
    """The same for one exception, whatever led to it."""
    names, text = type_names(exc), str(exc).lower()
    if isinstance(exc, MemoryError) or names & TYPES:
        return True
    if isinstance(exc, RuntimeError) and any(word in text for word in THREAD_WORDS):
        return True
    if not (isinstance(exc, RuntimeError | OSError | ImportError) or names & TELLING):
        return False
    # oneDNN says no more than this; a primitive's descriptor fails for other reasons
    primitive = "could not create a primitive" in text and "primitive descriptor" not in text
    return primitive or any(word in text for word in WORDS)
