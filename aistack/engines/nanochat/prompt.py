"""A conversation as token ids, assembled by hand, so that what users type never acts as a special token.

Text is always encoded with special tokens switched off; the tokens that structure the conversation
are put between by their ids. nanochat's own format is known; other models bring a chat template,
which is filled with place-holders and cut at them; a model without one continues plain text.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from aistack.chunks import Message
from aistack.engines.nanochat.tokenizer import ASSISTANT, BOS, USER, token_id
from aistack.errors import BackendFault, Code, Fault

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class Format(Protocol):
    """How one kind of model wants its conversations."""

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """The ids up to where the assistant's next turn begins. Raises BackendFault."""
        ...


def fold_system(messages: Sequence[Message]) -> tuple[Message, ...]:
    """System text put before the first user message, joined by a blank line.

    nanochat was trained so, and many templates know no system turn.
    """
    system = [message.content for message in messages if message.role == "system"]
    rest = [message for message in messages if message.role != "system"]
    if not system:
        return tuple(rest)
    for place, message in enumerate(rest):
        if message.role == "user":
            rest[place] = Message("user", "\n\n".join((*system, message.content)))
            return tuple(rest)
    return (Message("user", "\n\n".join(system)), *rest)


class Text:
    """Ordinary text to ids: the names of special tokens are text like any other."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        tokenizer.encode_special_tokens = True
        added = tokenizer.get_added_tokens_decoder()
        unknown = getattr(tokenizer.model, "unk_token", None)
        self._special = {
            number: token.content
            for number, token in added.items()
            if token.special and token.content != unknown
        }

    def ids(self, text: str) -> list[int]:
        """The ids of `text`; lone surrogates become U+FFFD, as in every UTF-8 tokenizer."""
        clean = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return self._encode(clean)

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        for name in {self._special[number] for number in ids if number in self._special}:
            if len(name) > 1 and name in text:
                # Some vocabularies hold the names as ordinary entries too: cut the name in two.
                at = text.index(name) + 1
                return self._encode(text[:at]) + self._encode(text[at:])
        return [number for number in ids if number not in self._special]


class NanochatFormat:
    """bos, then each turn between its start and its end, then the assistant's start. No newlines."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._text = Text(tokenizer)
        self.bos = token_id(tokenizer, BOS)
        self._pairs = {
            role: (token_id(tokenizer, begin), token_id(tokenizer, end))
            for role, (begin, end) in (("user", USER), ("assistant", ASSISTANT))
        }
        self.end = self._pairs["assistant"][1]

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        ids = [self.bos]
        for message in fold_system(messages):
            begin, end = self._pairs[message.role]
            ids += [begin, *self._text.ids(message.content), end]
        return [*ids, self._pairs["assistant"][0]]


class TemplateFormat:
    """The model's own chat template. `render` turns messages into the template's text.

    The template sees a random word in place of each content; what it puts around them is its own and
    is encoded with special tokens, the contents are encoded without.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        render: Callable[[list[dict[str, str]]], str],
        frame: Callable[[str], list[int]],
    ) -> None:
        self._text = Text(tokenizer)
        self._render = render
        self._frame = frame

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        folded = fold_system(messages)
        words = [f"content{secrets.token_hex(16)}" for _ in folded]
        turns = [
            {"role": message.role, "content": word} for message, word in zip(folded, words, strict=True)
        ]
        try:
            rest = self._render(turns)
        except Exception as exc:  # templates raise what they like
            raise _refused() from exc
        ids: list[int] = []
        for message, word in zip(folded, words, strict=True):
            if word not in rest:
                raise _refused()
            before, _, rest = rest.partition(word)
            ids += self._frame(before) if before else []
            ids += self._text.ids(message.content)
        return ids + (self._frame(rest) if rest else [])


class PlainFormat:
    """For models that were never taught to converse: the contents as paragraphs, to be continued."""

    def __init__(self, tokenizer: Tokenizer, begin: Sequence[int]) -> None:
        self._text = Text(tokenizer)
        self._begin = list(begin)

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        ids = self._begin + self._text.ids("\n\n".join(message.content for message in messages))
        if not ids:
            raise _refused()
        return ids


def _refused() -> BackendFault:
    return BackendFault(
        Fault(
            Code.INVALID_FIELD,
            "This model's chat format does not allow this order of messages.",
            "nanochat",
            param="messages",
        )
    )
