"""Bodies of the generating routes as engine requests: limits, defaults, and which refusal comes first.

Pure. `/generate` is strict (closed objects, exact types, limits in a fixed order); the OpenAI door
takes what OpenAI's clients send and ignores what it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from aistack.chunks import GenerationRequest, Message
from aistack.contract.internal import (
    CONTENT_MAX,
    MESSAGES_MAX,
    TEMPERATURE_MAX,
    TOKENS_MAX,
    TOP_K_MAX,
    TOTAL_MAX,
)
from aistack.errors import BackendFault, Code, malformed

STOPS_MAX = 4
_FIELDS = frozenset({"messages", "temperature", "max_tokens", "top_k"})
_MESSAGE_FIELDS = frozenset({"role", "content"})


@frozen
class Defaults:
    """What absent (or null) options mean."""

    temperature: float = 0.8
    top_k: int = 50
    max_tokens: int = 512


def wrong(message: str, param: str, code: Code = Code.INVALID_FIELD) -> BackendFault:
    return BackendFault(malformed(message, code, param))


def generate_request(
    body: Mapping[str, Any], defaults: Defaults, tolerant: bool = False
) -> GenerationRequest:
    """The body of `/generate`. Raises BackendFault 400; `tolerant` lets unknown fields pass."""
    if not tolerant:
        _closed(body, _FIELDS, "")
    messages = _messages(body, tolerant)
    temperature = _number(body, "temperature", TEMPERATURE_MAX, defaults.temperature)
    top_k = _whole(body, "top_k", 0, TOP_K_MAX, defaults.top_k)
    max_tokens = _whole(body, "max_tokens", 1, TOKENS_MAX, defaults.max_tokens)
    return GenerationRequest(messages, temperature, top_k, max_tokens)


def _closed(given: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    extra = min((name for name in given if name not in known), default=None)
    if extra is not None:
        param = f"{where}{extra[:80]}"
        raise wrong(f"The field '{param}' is not known here.", param)


def _messages(body: Mapping[str, Any], tolerant: bool) -> tuple[Message, ...]:
    """Types of all first, then the limits: their number, then each in order, then the sum."""
    if "messages" not in body:
        raise wrong("The field 'messages' is missing.", "messages", Code.MISSING_FIELD)
    given = body["messages"]
    if not isinstance(given, list):
        raise wrong("The field 'messages' must be a list.", "messages")
    found = [_message(item, f"messages.{place}", tolerant) for place, item in enumerate(given)]
    if not 1 <= len(found) <= MESSAGES_MAX:
        raise wrong(f"There must be from 1 to {MESSAGES_MAX} messages.", "messages")
    for place, message in enumerate(found):
        if not message.content:
            raise wrong(f"Message {place} is empty.", f"messages.{place}.content")
        if len(message.content) > CONTENT_MAX:
            raise wrong(
                f"Message {place} has more than {CONTENT_MAX} characters.", f"messages.{place}.content"
            )
        if message.role not in ("user", "assistant"):
            raise wrong(
                f"The role of message {place} must be user or assistant.", f"messages.{place}.role"
            )
    if sum(len(message.content) for message in found) > TOTAL_MAX:
        raise wrong(f"The messages have more than {TOTAL_MAX} characters together.", "messages")
    return tuple(found)


def _message(item: Any, where: str, tolerant: bool) -> Message:
    if not isinstance(item, dict):
        raise wrong(f"The field '{where}' must be an object.", where)
    for name in ("role", "content"):
        if name not in item:
            raise wrong(f"The field '{where}.{name}' is missing.", f"{where}.{name}", Code.MISSING_FIELD)
        if not isinstance(item[name], str):
            raise wrong(f"The field '{where}.{name}' must be a string.", f"{where}.{name}")
    if not tolerant:
        _closed(item, _MESSAGE_FIELDS, f"{where}.")
    return Message(item["role"], item["content"])


def _number(body: Mapping[str, Any], name: str, most: float, default: float) -> float:
    value = body.get(name)
    if value is None:
        return default
    if type(value) not in (int, float):
        raise wrong(f"The field '{name}' must be a number.", name)
    if not 0 <= value <= most:
        raise wrong(f"The field '{name}' must be from 0 to {most:g}.", name)
    return float(value)


def _whole(body: Mapping[str, Any], name: str, least: int, most: int, default: int) -> int:
    """A whole number; 2.0 is one, in JSON."""
    value = body.get(name)
    if value is None:
        return default
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int:
        raise wrong(f"The field '{name}' must be a whole number.", name)
    if not least <= value <= most:
        raise wrong(f"The field '{name}' must be from {least} to {most}.", name)
    return value


def swap_tag(body: Mapping[str, Any]) -> str:
    """The body of `/models/swap`; what else it carries is ignored. Raises BackendFault 400."""
    if "model_tag" not in body:
        raise wrong("The field 'model_tag' is missing.", "model_tag", Code.MISSING_FIELD)
    tag = body["model_tag"]
    if not isinstance(tag, str):
        raise wrong("The field 'model_tag' must be a string.", "model_tag")
    return tag


# --- the OpenAI door --------------------------------------------------------------------------------


@frozen
class ChatAsked:
    """A chat completion: what to generate, and how to answer."""

    request: GenerationRequest
    stream: bool
    usage: bool


def chat_request(body: Mapping[str, Any], defaults: Defaults) -> ChatAsked:
    """OpenAI's body. `developer` is `system`; unknown fields are ignored. Raises BackendFault 400."""
    given = body.get("messages")
    if not isinstance(given, list) or not given:
        raise wrong("The field 'messages' must be a list with at least one message.", "messages")
    messages = tuple(_chat_message(item, f"messages.{place}") for place, item in enumerate(given))
    name = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    wanted = _whole(body, name, 0, 2**31, 0)
    if body.get(name) is not None and wanted < 1:
        raise wrong(f"The field '{name}' must be at least 1.", name)
    seed = body.get("seed")
    if seed is not None and type(seed) is not int:
        raise wrong("The field 'seed' must be a whole number.", "seed")
    options = body.get("stream_options")
    usage = isinstance(options, dict) and options.get("include_usage") is True
    request = GenerationRequest(
        messages,
        _number(body, "temperature", TEMPERATURE_MAX, defaults.temperature),
        _whole(body, "top_k", 0, 2**31, defaults.top_k),
        wanted or None,
        _stops(body.get("stop")),
        seed,
    )
    return ChatAsked(request, body.get("stream") is True, usage)


def _chat_message(item: Any, where: str) -> Message:
    role = item.get("role") if isinstance(item, dict) else None
    role = "system" if role == "developer" else role
    if role not in ("system", "user", "assistant"):
        raise wrong("These weights know the roles system, user and assistant.", f"{where}.role")
    content = item.get("content")
    if isinstance(content, list):
        parts: list[Any] = [part.get("text") if isinstance(part, dict) else None for part in content]
        content = "".join(parts) if all(isinstance(part, str) for part in parts) else None
    if not isinstance(content, str):
        raise wrong("These weights read text only.", f"{where}.content")
    return Message(role, content)


def _stops(given: Any) -> tuple[str, ...]:
    stops: Sequence[Any] = [given] if isinstance(given, str) else given or []
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise wrong("The field 'stop' must be a string or a list of strings.", "stop")
    if len(stops) > STOPS_MAX:
        raise wrong(f"The field 'stop' may have {STOPS_MAX} strings at most.", "stop")
    return tuple(stops)
