"""Bodies of the generating routes as engine requests: limits, defaults, and which refusal comes first.

Pure. `/generate` is strict: its limits are those that `contract.internal` declares, and unknown fields
are refused. The OpenAI door takes what OpenAI's clients send and ignores what it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from attrs import frozen

from aistack.chunks import GenerationRequest, Message
from aistack.contract.converters import structure
from aistack.contract.internal import TEMPERATURE_MAX, GenerateRequest, SwapRequest
from aistack.contract.limits import Range
from aistack.errors import BackendFault, Code, malformed

STOPS_MAX = 4
WHOLE_MAX = 2**31
"""Beyond it a number of tokens is a mistake."""


@frozen
class Defaults:
    """What absent (or null) options mean."""

    temperature: float = 0.8
    top_k: int = 50
    max_tokens: int = 512


def generate_request(
    body: Mapping[str, object], defaults: Defaults, tolerant: bool = False
) -> GenerationRequest:
    """The body of `/generate`. Raises BackendFault 400; `tolerant` lets unknown fields pass.

    The first refusal is about a type, then about the messages: their number, then each in order, then
    their sum; then about the options, as declared.
    """
    asked = structure(body, GenerateRequest, tolerant=tolerant)
    return GenerationRequest(
        tuple(Message(each.role, each.content) for each in asked.messages),
        defaults.temperature if asked.temperature is None else asked.temperature,
        defaults.top_k if asked.top_k is None else asked.top_k,
        defaults.max_tokens if asked.max_tokens is None else asked.max_tokens,
    )


def swap_tag(body: Mapping[str, object]) -> str:
    """The body of `/models/swap`; other fields are ignored. Raises BackendFault 400."""
    return structure(body, SwapRequest, tolerant=True).model_tag


# --- the OpenAI door --------------------------------------------------------------------------------


@frozen
class ChatAsked:
    """A chat completion: what to generate, and how to answer."""

    request: GenerationRequest
    stream: bool
    usage: bool


@frozen(kw_only=True)
class _ChatOptions:
    """The options of a chat completion that the engine has as well."""

    temperature: Annotated[float | None, Range(0, TEMPERATURE_MAX)] = None
    top_k: Annotated[int | None, Range(0, WHOLE_MAX)] = None
    max_completion_tokens: Annotated[int | None, Range(1, WHOLE_MAX)] = None
    max_tokens: Annotated[int | None, Range(1, WHOLE_MAX)] = None
    seed: int | None = None


def chat_request(body: Mapping[str, Any], defaults: Defaults) -> ChatAsked:
    """OpenAI's body. `developer` is `system`; unknown fields are ignored. Raises BackendFault 400."""
    given = body.get("messages")
    if not isinstance(given, list) or not given:
        raise _invalid("The field 'messages' must be a list with at least one message.", "messages")
    messages = tuple(_chat_message(item, f"messages.{place}") for place, item in enumerate(given))
    options = structure(_options(body), _ChatOptions, tolerant=True)
    streaming = body.get("stream_options")
    usage = isinstance(streaming, dict) and streaming.get("include_usage") is True
    request = GenerationRequest(
        messages,
        defaults.temperature if options.temperature is None else options.temperature,
        defaults.top_k if options.top_k is None else options.top_k,
        options.max_completion_tokens or options.max_tokens,
        _stops(body.get("stop")),
        options.seed,
    )
    return ChatAsked(request, body.get("stream") is True, usage)


def _options(body: Mapping[str, Any]) -> dict[str, Any]:
    """`max_tokens` is the old name of `max_completion_tokens` and gives way to it, whatever it holds."""
    given = dict(body)
    if given.get("max_completion_tokens") is not None:
        given.pop("max_tokens", None)
    return given


def _chat_message(item: Any, where: str) -> Message:
    role = item.get("role") if isinstance(item, dict) else None
    role = "system" if role == "developer" else role
    if role not in ("system", "user", "assistant"):
        raise _invalid("The role must be system, user or assistant.", f"{where}.role")
    content = item.get("content")
    if isinstance(content, list):
        parts: list[Any] = [part.get("text") if isinstance(part, dict) else None for part in content]
        content = "".join(parts) if all(isinstance(part, str) for part in parts) else None
    if not isinstance(content, str):
        raise _invalid("This model reads text only.", f"{where}.content")
    return Message(role, content)


def _stops(given: Any) -> tuple[str, ...]:
    stops: Sequence[Any] = [given] if isinstance(given, str) else given or []
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise _invalid("The field 'stop' must be a string or a list of strings.", "stop")
    if len(stops) > STOPS_MAX:
        raise _invalid(f"The field 'stop' may have {STOPS_MAX} strings at most.", "stop")
    return tuple(stops)


def _invalid(message: str, param: str) -> BackendFault:
    return BackendFault(malformed(message, Code.INVALID_FIELD, param))
