"""The start-up message: where it listens, what it can do, what to try. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from aistack import __version__
from aistack.config.addresses import is_open, url_of
from aistack.observe.terminal import plain
from aistack.routing.notes import EngineNote

SHOWN = 3
"""How many models are named per engine."""


def start_screen(addresses: Sequence[str], engines: Sequence[EngineNote], keys: bool) -> str:
    """The screen. `addresses` are those really listened on; `keys`: whether callers need one."""
    url = url_of(addresses[0])
    key = ' -H "Authorization: Bearer $AISTACK_KEY"' if keys else ""
    lines = ["", f"aistack {__version__} listens on {', '.join(url_of(each) for each in addresses)}", ""]
    width = max((len(plain(engine.provider)) for engine in engines), default=0)
    for engine in engines:
        mark, what = ("+", _models(engine)) if engine.models else ("-", _missing(engine))
        lines.append(f"  {mark} {plain(engine.provider):<{width}}  {plain(what)}")
    if not any(engine.models for engine in engines):
        lines.append("  No engine is installed: transcriptions get 503.")
    lines += [
        "",
        f"  Try it   curl{key} -F file=@contrib/samples/hello.wav {url}/v1/audio/transcriptions",
        f"  Models   curl{key} {url}/v1/models",
        f"  Console  {url}/admin",
        "  Stop     Ctrl-C",
        "",
    ]
    if not keys and any(is_open(each) for each in addresses):
        lines += ["  Note: other machines can reach this address, and no API key is required.", ""]
    return "\n".join(lines)


def _models(engine: EngineNote) -> str:
    more = len(engine.models) - SHOWN
    text = ", ".join(engine.models[:SHOWN]) + (f" and {more} more" if more > 0 else "")
    return f"{text} ({engine.remark})" if engine.remark else text


def _missing(engine: EngineNote) -> str:
    return f"not installed: {engine.install}" if engine.install else engine.remark or "not available"
