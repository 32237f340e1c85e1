"""The faults that more than one place raises, or that the reference shows: each worded once. Pure."""

from __future__ import annotations

from typing import Any

from aistack.errors.codes import Code, ErrorKind
from aistack.errors.fault import GATEWAY, BackendFault, Fault

# --- the request -----------------------------------------------------------------------------------


def malformed(message: str, code: Code = Code.INVALID_FIELD, param: str | None = None) -> Fault:
    """A request that is wrong, in one of the ways for which no function here has the words."""
    return Fault(code, message, param=param)


def missing_field(name: str) -> Fault:
    """A field that is required is not there: 400."""
    return Fault(Code.MISSING_FIELD, f"The field '{name}' is missing.", param=name)


def body_not_json() -> Fault:
    """A body that should be JSON is not: 400."""
    return Fault(Code.INVALID_BODY, "The body is not valid JSON.")


def body_not_object() -> Fault:
    """A JSON body that is a list or a single value: 400."""
    return Fault(Code.INVALID_BODY, "The body must be a JSON object.")


def unreadable_audio(provider: str) -> Fault:
    """The file is not an audio file: 400."""
    return Fault(Code.UNSUPPORTED_AUDIO, "The file could not be read as audio.", provider, "file")


def context_overflow(provider: str, prompt: int, wanted: int | None, context: int) -> Fault:
    """A prompt of this many tokens and the wanted answer are more than the context holds: 400."""
    asked = "" if wanted is None else f" plus max_tokens {wanted}"
    return Fault(
        Code.CONTEXT_OVERFLOW,
        f"The conversation ({prompt} tokens){asked} exceeds this model's context of {context} tokens. "
        "Shorten the conversation or lower max_tokens.",
        provider,
        "messages" if prompt >= context else "max_tokens",
    )


def unknown_path(path: str) -> Fault:
    """No operation has this path: 404."""
    return Fault(Code.NOT_FOUND, f"Unknown path: {path}. See /docs.")


def unknown_model(model: str, accepted: str) -> Fault:
    """No engine has the model that a request names: 400; `accepted` is a sentence about those it has."""
    return Fault(Code.MODEL_NOT_FOUND, f"Unknown model: {_quoted(model)}. {accepted}", param="model")


def not_listed(model: str) -> Fault:
    """The model that an operation is about is not in the inventory: 404."""
    message = f"Unknown model: {_quoted(model)}. GET /v1/models lists the models."
    return Fault(Code.MODEL_NOT_FOUND, message, param="model", status=404)


def _quoted(name: str) -> str:
    return f"'{name}'" if len(name) <= 80 else f"'{name[:77]}...'"


# --- the slot and the service ----------------------------------------------------------------------


def busy(message: str, **holder: Any) -> Fault:
    """The slot is taken: 503; `holder` describes who has it."""
    return Fault(Code.SLOT_BUSY, message, extra={"holder": holder} if holder else {})


def draining(message: str = "The weights are being changed. Retry in a few seconds.") -> Fault:
    """Weights are being swapped: 503."""
    return Fault(Code.DRAINING, message)


def shutting_down() -> Fault:
    """The service is about to stop: 503."""
    return Fault(Code.SHUTTING_DOWN, "aistack is shutting down. Retry in a few seconds.")


def cooling_down(model: str, failures: int, wait_s: int) -> Fault:
    """A model that failed to load `failures` times in a row and may be tried in `wait_s`: 503."""
    return Fault(
        Code.LOAD_COOLING_DOWN,
        f"{model} failed to load {failures} times in a row. Retry in {wait_s} s.",
        retry_after=wait_s,
    )


# --- engines ---------------------------------------------------------------------------------------


def not_installed(provider: str, install: str) -> Fault:
    """The engine's library is missing: 503; `install` is the command that installs it."""
    message = f"{provider} is not installed on this server. Install it with: {install}"
    return Fault(Code.BACKEND_MISSING, message, provider)


def load_failed(provider: str, model: str, why: str) -> Fault:
    """The model could not be made ready: 503."""
    return Fault(Code.MODEL_LOAD_FAILED, f"The model {model} could not be loaded: {why}.", provider)


def out_of_memory(provider: str, task: str) -> Fault:
    """Memory ran out at load or in inference: 413, and the next request starts afresh."""
    message = f"Not enough memory to {task}. Use a smaller model or a shorter input."
    return Fault(Code.OUT_OF_MEMORY, message, provider)


def found_dead(provider: str) -> Fault:
    """The process had died before the run reached it: 503, worth a retry."""
    message = f"The {provider} process had exited before this request began. Send it again."
    return Fault(Code.ENGINE_CRASHED, message, provider)


def crashed(provider: str) -> Fault:
    """The process died over this very request: 500, not worth a retry."""
    message = f"The {provider} process crashed while working on this request."
    return Fault(Code.ENGINE_CRASHED, message, provider, status=500)


def stalled(provider: str, stall_s: float) -> Fault:
    """No sign of life for too long: 500."""
    message = f"{provider} showed no sign of life for {stall_s:.0f} s and was stopped."
    return Fault(Code.ENGINE_STALLED, message, provider)


# --- what can happen anywhere ----------------------------------------------------------------------


def too_slow() -> Fault:
    """The client took its answer so slowly that it held up the slot: seen in logs only."""
    return Fault(Code.CANCELLED, "The client read its answer too slowly and was disconnected.")


def internal(provider: str = GATEWAY) -> Fault:
    """A bug in aistack or in a library: 500. The traceback is in the log under the request id."""
    return Fault(
        Code.INTERNAL_ERROR,
        "Internal error. The server's log has the details under this request's id.",
        provider,
    )


def fault_from(exc: BaseException, provider: str, kind: ErrorKind | None = None) -> Fault:
    """The only mapping from an exception to a fault.

    `kind` is what the backend's own `kind_of` made of a foreign exception, if anything.
    """
    if isinstance(exc, BackendFault):
        return exc.fault
    if isinstance(exc, MemoryError) or kind is ErrorKind.OVERFLOW:
        return out_of_memory(provider, "finish this request")
    if kind is ErrorKind.MALFORMED:
        return unreadable_audio(provider)
    if kind is ErrorKind.NETWORK:
        return Fault(
            Code.MODEL_LOAD_FAILED,
            "The model could not be loaded. The server's log has the cause under this request's id.",
            provider,
        )
    return internal(provider)
