"""Whether a model hub answers: one HEAD request, bounded."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

import aiohttp

HUGGINGFACE = "https://huggingface.co"
MODELSCOPE = "https://www.modelscope.cn"


def chosen_endpoint(environ: Mapping[str, str]) -> str:
    """The address that replaces the Hugging Face Hub; empty if none is set."""
    return environ.get("HF_ENDPOINT", "").strip()


async def why_unreachable(url: str, limit_s: float) -> str:
    """Why the hub at `url` does not answer within `limit_s` seconds; empty if it does.

    Proxies are used as the hubs' libraries use them; the refusal of one is not an answer, and neither
    is a server error.
    """
    timeout = aiohttp.ClientTimeout(total=limit_s)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
            session.head(url, allow_redirects=False) as response,
        ):
            status = response.status
    except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
        return reason_of(exc, limit_s)
    return "" if status < 500 and status not in (401, 403, 407) else f"status {status}"


def reason_of(exc: Exception, limit_s: float) -> str:
    """In a few words, why a request with a limit of `limit_s` seconds got no answer."""
    if isinstance(exc, TimeoutError):
        return f"no answer within {limit_s:g} s"
    if isinstance(exc, aiohttp.InvalidURL):
        return "not a valid URL"
    if not isinstance(exc, aiohttp.ClientConnectorError):
        return type(exc).__name__
    cause = exc.os_error
    if isinstance(cause, socket.gaierror):
        return "the host name cannot be resolved"
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused"
    return (os.strerror(cause.errno) if cause.errno else "no connection").lower()
