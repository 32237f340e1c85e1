"""True and false as text: one list of words for forms, the environment and the switches. Pure."""

from __future__ import annotations

TRUE = frozenset({"1", "true", "on", "yes", "y"})
FALSE = frozenset({"0", "false", "off", "no", "n"})


def boolean(text: str) -> bool | None:
    """What `text` means, in any case and with spaces around it; None if it is neither."""
    word = text.strip().lower()
    return True if word in TRUE else False if word in FALSE else None
