"""Frames between the gateway and an engine process: a 4-byte length, then JSON. Never pickles.

Imported on both sides, so it needs only the standard library and the pure modules.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

from aistack.errors import Code, Fault

MAX_FRAME = 64 * 1024 * 1024
"""A longer frame means that the two sides are out of step."""

_LENGTH = struct.Struct(">I")


class BrokenFrame(Exception):
    """The bytes are not frames: the other side is out of step, or not aistack."""


def pack(message: dict[str, Any]) -> bytes:
    """One frame."""
    body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return _LENGTH.pack(len(body)) + body


class Unpacker:
    """Bytes in any portions in, messages out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """The messages completed by `data`. Raises BrokenFrame."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > MAX_FRAME:
                raise BrokenFrame(f"a frame of {length} bytes")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            try:
                message = json.loads(body)
            except ValueError as exc:
                raise BrokenFrame("not JSON") from exc
            if not isinstance(message, dict):
                raise BrokenFrame("not an object")
            yield message


def fault_to_frame(fault: Fault) -> dict[str, Any]:
    """A JSON-ready fault."""
    return {
        "code": fault.code.name,
        "status": fault.status,
        "message": fault.message,
        "provider": fault.provider,
        "param": fault.param,
        "retry_after": fault.retry_after,
        "extra": dict(fault.extra),
    }


def fault_from_frame(frame: dict[str, Any]) -> Fault:
    """The fault `fault_to_frame` was given."""
    return Fault(
        Code[frame["code"]],
        frame["message"],
        frame["provider"],
        frame["param"],
        frame["extra"],
        status=frame["status"],
        retry_after=frame["retry_after"],
    )
