"""The annotated sample file: every setting, its sentence, what is allowed and its default.

Committed as docs/operating/aistack.sample.toml; a test compares it with this.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from aistack.config.backends import FakeSection
from aistack.config.load import Option, options, sections
from aistack.config.values import TABLE

WIDTH = 100

HEAD = """\
# aistack: every setting with its default. Written by `aistack sample-config`.
#
# Read from --config FILE, else from the file named in AISTACK_CONFIG, else from
# ~/.config/aistack/aistack.toml (XDG_CONFIG_HOME; %APPDATA% on Windows). What stands in the
# environment wins over the file, the command line wins over both: slots.idle_unload_s is
# AISTACK_SLOTS__IDLE_UNLOAD_S there, lists are written a,b and tables a=b,c=d.
#
# Times are in seconds, sizes in bytes. To change a setting, remove the mark in front of its line.
"""


def sample() -> str:
    """The text of the sample."""
    blocks = [HEAD]
    for name, cls in sections().items():
        if cls is FakeSection:
            continue
        says = (cls.__doc__ or "").strip().splitlines()[0]
        lines = ["", f"# {says}", f"[{name}]"]
        for option in options():
            if option.section == name:
                lines += ["", *_comment(option), *_setting(option)]
        blocks.append("\n".join(lines) + "\n")
    return "".join(blocks)


def _comment(option: Option) -> list[str]:
    says = str(option.attribute.metadata["says"])
    if option.rule is not None:
        says += f" Must be {option.rule.allowed}."
    return [f"# {line}" for line in textwrap.wrap(says, WIDTH - 2)]


def _setting(option: Option) -> list[str]:
    default: Any = getattr(sections()[option.section](), option.attribute.name)
    if option.type == TABLE:
        pairs = [f"{toml(key)} = {toml(value)}" for key, value in default.items()]
        return [f"#{option.attribute.name} = {{{', '.join(pairs)}}}"]
    return [f"#{option.attribute.name} = {toml(default)}"]


def toml(value: Any) -> str:
    """A value as TOML writes it; strings here need no escapes beyond the quotes."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"{value:_}" if isinstance(value, int) and value >= 10_000 else str(value)
        case str():
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case tuple():
            return "[" + ", ".join(toml(item) for item in value) + "]"
        case Mapping():
            return "{" + ", ".join(f"{toml(k)} = {toml(v)}" for k, v in value.items()) + "}"
        case _:
            raise TypeError(f"no TOML form for {type(value).__name__}")
