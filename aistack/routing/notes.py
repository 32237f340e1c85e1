"""What the start-up screen shows of an engine. Pure."""

from __future__ import annotations

from attrs import frozen


@frozen
class EngineNote:
    """One engine as the start-up screen shows it.

    `provider` is the name people know; `models` are the ids it would serve, empty if it is not
    installed; `install` is then the command to install it, and `remark` anything worth a few words
    ("weights on disk", "no download needed").
    """

    provider: str
    models: tuple[str, ...] = ()
    install: str = ""
    remark: str = ""
