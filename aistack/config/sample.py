"""The annotated sample file: every setting, its sentence, what is allowed and its default.

Committed as docs/operating/aistack.sample.toml; a test compares it with this.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from aistack.config.backends import FakeSection
from aistack.config.load import Option, options, sections
from aistack.config.section import limits

WIDTH = 100

HEAD = """\
# aistack: every setting with its default. Written by `aistack sample-config`.
#
# Read from --config FILE, otherwise from the file named in AISTACK_CONFIG, otherwise from
# ~/.config/aistack/aistack.toml (XDG_CONFIG_HOME; %APPDATA% on Windows). Environment variables
# override the file, and the command line overrides both: slots.idle_unload_s is
# AISTACK_SLOTS__IDLE_UNLOAD_S; lists are written a,b and tables a=b,c=d.
#
# Times are in seconds, sizes in bytes. To change a setting, remove the # in front of its line.
"""


def sample() -> str:
    """The text of the sample."""
    blocks = [HEAD]
    for name, cls in sections().items():
        if cls is FakeSection:
            continue
        lines = ["", *_wrapped((cls.__doc__ or "").strip().splitlines()[0]), f"[{name}]"]
        for option in options():
            if option.section == name:
                lines += ["", *_comment(option), *_setting(option)]
        blocks.append("\n".join(lines) + "\n")
    return "".join(blocks)


def _comment(option: Option) -> list[str]:
    musts = [f"Must {limit.must}." for limit in limits(option.field)]
    return _wrapped(" ".join([option.field.sentence, *musts]))


def _wrapped(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, WIDTH - 2)]


def _setting(option: Option) -> list[str]:
    default = getattr(sections()[option.section](), option.field.name)
    return [f"#{option.field.name} = {toml(default)}"]


def toml(value: object) -> str:
    """A value as TOML writes it; the strings here need no escapes beyond quotes and backslashes."""
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
