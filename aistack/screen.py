"""What a person sees at start-up: where it listens, what it can do, what to try. Pure."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Sequence

from attrs import frozen

from aistack import __version__
from aistack.config_rules import format_address, parse_address

SHOWN = 3
"""Models named per engine."""


@frozen
class EngineNote:
    """One engine as the start-up screen tells it.

    `provider` is the name people know; `models` are the ids it would serve, empty if it is not
    installed; `install` is then the command to install it, and `remark` anything worth a few words
    ("weights on disk", "no download needed").
    """

    provider: str
    models: tuple[str, ...] = ()
    install: str = ""
    remark: str = ""


def url_of(address: str) -> str:
    """The URL by which this machine reaches an address that is listened on."""
    host, port = parse_address(address)
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    return f"http://{format_address(host, port)}"


def is_open(address: str) -> bool:
    """Whether others than this machine can reach the address."""
    host, _ = parse_address(address)
    if host == "localhost":
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True


def is_nowhere(exc: OSError) -> bool:
    """Whether listening failed because this machine has no such address.

    Since Python 3.13 asyncio's own loop says so in words alone, without a number.
    """
    worded = exc.errno is None and "could not bind on any address" in str(exc)
    return worded or exc.errno == errno.EADDRNOTAVAIL or isinstance(exc, socket.gaierror)


def start_screen(addresses: Sequence[str], engines: Sequence[EngineNote], keys: bool) -> str:
    """The screen. `addresses` are those really listened on; `keys`: whether callers need one."""
    url = url_of(addresses[0])
    key = ' -H "Authorization: Bearer $AISTACK_KEY"' if keys else ""
    lines = ["", f"aistack {__version__} listens on {', '.join(url_of(each) for each in addresses)}", ""]
    width = max((len(engine.provider) for engine in engines), default=0)
    for engine in engines:
        mark, what = ("+", _models(engine)) if engine.models else ("-", _missing(engine))
        lines.append(f"  {mark} {engine.provider:<{width}}  {what}")
    if not any(engine.models for engine in engines):
        lines.append("  No engine is installed: transcriptions will be answered with 503.")
    lines += [
        "",
        f"  try   curl{key} -F file=@speech.wav {url}/v1/audio/transcriptions",
        f"  see   curl{key} {url}/v1/models",
        f"  look  {url}/admin in a browser",
        "  stop  Ctrl-C",
        "",
    ]
    if not keys and any(is_open(each) for each in addresses):
        lines += ["  Note: other machines can reach this address, and no key is asked for.", ""]
    return "\n".join(lines)


def _models(engine: EngineNote) -> str:
    more = len(engine.models) - SHOWN
    text = ", ".join(engine.models[:SHOWN]) + (f" and {more} more" if more > 0 else "")
    return f"{text} ({engine.remark})" if engine.remark else text


def _missing(engine: EngineNote) -> str:
    return f"not installed: {engine.install}" if engine.install else engine.remark or "not available"
