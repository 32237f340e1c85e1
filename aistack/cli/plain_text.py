"""Strings from outside, made safe for a terminal: what cannot be printed is escaped. Pure."""

from __future__ import annotations


def plain(text: str, keep: str = "") -> str:
    """`text` with every character that is not printable as a backslash escape.

    Control characters could steer the terminal, and marks for the direction of writing could turn a
    line around. Characters in `keep` stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in keep else _escape(each) for each in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
