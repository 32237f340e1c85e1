"""One failure as a consumer will read it, and the one producer of the envelope. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import Attribute, Factory, field, frozen

from aistack.errors.codes import Code, ErrorKind, Retry, kind_of_status

GATEWAY = "aistack"
"""The provider named by faults that no backend caused."""

RETRY_S = 5
"""Seconds in `Retry-After` where nothing better is known (seed 003 section 7: literally 5)."""


def _usual_status(fault: Fault) -> int:
    return fault.code.status


def _usual_pause(fault: Fault) -> int | None:
    return RETRY_S if fault.code.retries.get(fault.status) is Retry.LATER else None


@frozen
class Fault:
    """One failure.

    `message` is a plain sentence that is safe to show: no paths, no exception text. `status` is one of
    the code's. `retry_after` is in seconds. `extra` holds additional members of the error object
    (`holder`, or an upstream's own members); it never replaces ours. Raises ValueError for a status that
    the code does not come with.
    """

    code: Code
    message: str
    provider: str = GATEWAY
    param: str | None = None
    extra: Mapping[str, Any] = field(factory=dict)
    status: int = field(default=Factory(_usual_status, takes_self=True), kw_only=True)
    retry_after: int | None = field(default=Factory(_usual_pause, takes_self=True), kw_only=True)

    @status.validator
    def _is_the_codes(self, attribute: Attribute[int], status: int) -> None:
        if status not in self.code.retries:
            raise ValueError(f"{self.code.value} does not come with status {status}")

    @property
    def kind(self) -> ErrorKind:
        """What a client branches on."""
        return kind_of_status(self.status)

    @property
    def retry(self) -> Retry:
        """Whether sending the same request again may succeed."""
        return self.code.retries[self.status]


class BackendFault(Exception):
    """Raised by a backend (or by intake) that already knows how a consumer should read its failure."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"{fault.kind.word}/{fault.code.value}: {fault.message}")
        self.fault = fault


def error_object(fault: Fault) -> dict[str, Any]:
    """The inner object of the envelope; OpenAI's members (`type`, `code`, `param`) stand beside ours."""
    theirs = fault.kind in (ErrorKind.MALFORMED, ErrorKind.OVERFLOW)
    return dict(fault.extra) | {
        "kind": fault.kind.word,
        "provider": fault.provider,
        "message": fault.message,
        "type": "invalid_request_error" if theirs else "server_error",
        "code": fault.code.value,
        "param": fault.param,
    }


def envelope(fault: Fault) -> bytes:
    """The JSON body of every non-2xx answer, UTF-8. It may quote a client's text: lone surrogates
    become '?'."""
    text = json.dumps({"error": error_object(fault)}, ensure_ascii=False)
    return text.encode("utf-8", "replace")


def fault_headers(fault: Fault) -> tuple[tuple[str, str], ...]:
    """`Retry-After` where waiting helps, `x-should-retry: false` on a 5xx that no retry can cure."""
    if fault.retry is Retry.LATER and fault.retry_after is not None:
        return (("Retry-After", str(fault.retry_after)),)
    if fault.retry is Retry.NEVER and fault.status >= 500:
        return (("x-should-retry", "false"),)
    return ()
