"""What a terminal is shown: strings from outside made safe for it, and sizes of memory. Pure.

Control characters could steer the terminal, and marks for the direction of writing could turn a line
around. Imported by the command line before anything else: it needs nothing but the language.
"""

from __future__ import annotations


def plain(text: str, keep: str = "") -> str:
    """`text` with every character that is not printable as a backslash escape.

    Characters in `keep` stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in keep else _escape(each) for each in text)


def plain_json(text: str) -> str:
    """JSON with every character that is not printable as JSON's own escape: the same value."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in "\n\t" else _unit(each) for each in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def _unit(character: str) -> str:
    """`\\u009b`; two of them for a character beyond the basic plane."""
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[n : n + 2].hex()}" for n in range(0, len(units), 2))
