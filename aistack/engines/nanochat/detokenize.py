"""Token ids to text as they come: every character whole, nothing decoded twice, nothing lost.

A character may be split over tokens, so text is held back until it is complete. Bytes that can never
become a character turn into U+FFFD at once, and bytes that are left at the end turn into U+FFFD
then. The cost of a token does not depend on how many came before it.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Protocol

from aistack.engines.nanochat.tokenizer import alphabet

if TYPE_CHECKING:
    from tokenizers import Tokenizer

HELD_MAX = 4
"""A character has four bytes at most: what is not one after this many tokens never will be."""


class Vocabulary(Protocol):
    """What a window needs of a tokenizer."""

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        """The text of the tokens."""
        ...


class Decoder(Protocol):
    """The text of one answer."""

    def feed(self, token: int) -> str:
        """The text that this token completes; empty if it completes none."""
        ...

    def end(self) -> str:
        """What was held back to the end."""
        ...


class ByteDecoder:
    """For byte-level vocabularies: every token is a piece of UTF-8."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, token: int) -> str:
        return self._utf8.decode(self._pieces[token]) if token < len(self._pieces) else ""

    def end(self) -> str:
        return self._utf8.decode(b"", True)


class WindowDecoder:
    """For all other vocabularies: a window of tokens is decoded with and without the new one.

    The token before the new one stays in the window because a token's text may depend on its
    predecessor (a leading blank). `fallback` are tokens that stand for single bytes: they are decoded
    here, for the library gives up on a whole run of them if one is wrong.
    """

    def __init__(self, tokenizer: Vocabulary, fallback: Mapping[int, int]) -> None:
        self._tokenizer = tokenizer
        self._fallback = fallback
        self._after_byte = [number for number, value in fallback.items() if value == ord("a")]
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._before: list[int] = []
        self._new: list[int] = []

    def feed(self, token: int) -> str:
        value = self._fallback.get(token)
        if value is not None:
            held = self._window()
            # A letter stands in the window for whatever the bytes become: only that something does.
            self._before, self._new = self._after_byte, []
            return held + self._utf8.decode(bytes([value]))
        bytes_left = self._utf8.decode(b"", True)
        self._new.append(token)
        text = self._window()
        if text.endswith("\ufffd") and len(self._new) < HELD_MAX:
            return bytes_left
        self._before, self._new = self._new, []
        return bytes_left + text

    def end(self) -> str:
        return self._utf8.decode(b"", True) + self._window()

    def _window(self) -> str:
        """The text of the new tokens."""
        if not self._new:
            return ""
        return self._decode(self._before + self._new)[len(self._decode(self._before)) :]

    def _decode(self, tokens: list[int]) -> str:
        return self._tokenizer.decode(tokens, skip_special_tokens=False) if tokens else ""


class Detokenizer:
    """Makes one decoder per answer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._pieces = byte_pieces(tokenizer)
        self._fallback = byte_tokens(tokenizer)

    def decoder(self) -> Decoder:
        if self._pieces is not None:
            return ByteDecoder(self._pieces)
        return WindowDecoder(self._tokenizer, self._fallback)


def byte_pieces(tokenizer: Tokenizer) -> list[bytes] | None:
    """The bytes of every token, by id; None if the vocabulary is not a byte-level one."""
    settings = json.loads(tokenizer.to_str())
    if (settings.get("decoder") or {}).get("type") != "ByteLevel":
        return None
    bytes_of = {char: value for value, char in alphabet().items()}
    numbers: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
    added = {entry["id"] for entry in settings.get("added_tokens", ())}
    pieces = [b""] * (max(numbers.values(), default=-1) + 1)
    for name, number in numbers.items():
        if number in added or not all(char in bytes_of for char in name):
            pieces[number] = name.encode()
        else:
            pieces[number] = bytes(bytes_of[char] for char in name)
    return pieces


def byte_tokens(tokenizer: Tokenizer) -> dict[int, int]:
    """Token id to the byte it stands for, where the vocabulary has such tokens (`<0x0A>`)."""
    if "ByteFallback" not in json.dumps(json.loads(tokenizer.to_str()).get("decoder")):
        return {}
    found = ((tokenizer.token_to_id(f"<0x{value:02X}>"), value) for value in range(256))
    return {number: value for number, value in found if number is not None}


class StopStrings:
    """Cuts a text before the first of some strings, however it is split into pieces.

    The first string to be complete counts; of several that end at the same character, the longest. What
    may be the beginning of one is held back until the next piece decides.
    """

    def __init__(self, strings: Collection[str]) -> None:
        self._strings = tuple(string for string in strings if string)
        self._held = ""
        self.met = False

    def feed(self, text: str) -> str:
        """The part of the text so far that certainly stands before any of the strings."""
        if not self._strings:
            return text
        if self.met:
            return ""
        text = self._held + text
        found = [(place, len(each)) for each in self._strings if (place := text.find(each)) >= 0]
        if found:
            self.met, self._held = True, ""
            first_end = min(place + size for place, size in found)
            return text[: min(place for place, size in found if place + size == first_end)]
        keep = max(_begun(text, string) for string in self._strings)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def end(self) -> str:
        """What was held back and turned out to be text."""
        held, self._held = self._held, ""
        return held


def _begun(text: str, string: str) -> int:
    """How many characters at the end of `text` are the beginning of `string`."""
    for size in range(min(len(string) - 1, len(text)), 0, -1):
        if text.endswith(string[:size]):
            return size
    return 0
