"""nanochat's tokenizer file, read without running it, and rebuilt with the `tokenizers` library.

The file is a pickled tiktoken Encoding, and loading a pickle naively runs whatever code it names.
It needs exactly one class, so the unpickler here knows exactly one, as a stub, and refuses all else.
"""

from __future__ import annotations

import io
import pickle
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from aistack.engines.nanochat.weights import PROVIDER
from aistack.errors import BackendFault, Code, Fault

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FILE_MAX = 64 * 1024 * 1024
"""A vocabulary of 65536 entries is about one megabyte."""

BOS = "<|bos|>"
USER = ("<|user_start|>", "<|user_end|>")
ASSISTANT = ("<|assistant_start|>", "<|assistant_end|>")
NEEDED = (BOS, *USER, *ASSISTANT)
"""Special tokens without which no conversation can be written."""


@frozen
class Vocabulary:
    """What the file says: split pattern, merge ranks (bytes to id), special tokens (name to id)."""

    pattern: str
    ranks: dict[bytes, int]
    special: dict[str, int]


class _Encoding:
    """Stands where the file names tiktoken's class; takes its state and does nothing."""

    state: dict[str, Any]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.state = state


class _Restricted(pickle.Unpickler):
    """Knows one class."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("tiktoken.core", "Encoding"):
            return _Encoding
        raise pickle.UnpicklingError(f"the file names {module}.{name}")


def unreadable(message: str) -> BackendFault:
    """503: the tokenizer file is not what it should be."""
    return BackendFault(Fault(Code.MODEL_LOAD_FAILED, message, PROVIDER))


def read_vocabulary(path: Path) -> Vocabulary:
    """The contents of a `tokenizer.pkl`. Raises BackendFault; never runs code from the file."""
    if path.stat().st_size > FILE_MAX:
        raise unreadable("The weights could not be loaded: their tokenizer file is too large.")
    try:
        loaded = _Restricted(io.BytesIO(path.read_bytes())).load()
        if not isinstance(loaded, _Encoding):
            raise TypeError
        state = loaded.state
        vocabulary = Vocabulary(state["pat_str"], state["mergeable_ranks"], state["special_tokens"])
        _check(vocabulary)
    except Exception as exc:  # a damaged pickle may raise anything
        raise unreadable(
            "The weights could not be loaded: their tokenizer file is damaged, or it needs to run "
            "code, which is not allowed."
        ) from exc
    return vocabulary


def _check(vocabulary: Vocabulary) -> None:
    """Types and numbers: ids from 0 without a gap, every single byte, the special names needed."""
    ranks, special = vocabulary.ranks, vocabulary.special
    if not isinstance(vocabulary.pattern, str):
        raise TypeError("pattern")
    if not all(type(token) is bytes and token and type(rank) is int for token, rank in ranks.items()):
        raise TypeError("ranks")
    if not all(type(name) is str and name and type(rank) is int for name, rank in special.items()):
        raise TypeError("special")
    if sorted((*ranks.values(), *special.values())) != list(range(len(ranks) + len(special))):
        raise ValueError("ids")
    if not all(bytes([value]) in ranks for value in range(256)):
        raise ValueError("bytes")


@cache
def alphabet() -> dict[int, str]:
    """Byte to the printable character that stands for it in byte-level vocabularies (GPT-2's table)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [value for value in range(256) if value not in printable]
    table = {value: chr(value) for value in printable}
    table |= {value: chr(256 + place) for place, value in enumerate(others)}
    return table


def _written(token: bytes) -> str:
    table = alphabet()
    return "".join(table[value] for value in token)


def rebuild(vocabulary: Vocabulary) -> Tokenizer:
    """The same tokenizer in the `tokenizers` library.

    tiktoken merges any two neighbours whose concatenation has a rank, lowest rank first; so every
    split of a token into two tokens becomes a merge, in the order of the ranks.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

    ranks = vocabulary.ranks
    merges: list[tuple[str, str]] = []
    for token in sorted(ranks, key=ranks.__getitem__):
        splits = [(token[:at], token[at:]) for at in range(1, len(token))]
        known = [split for split in splits if split[0] in ranks and split[1] in ranks]
        known.sort(key=lambda split: (ranks[split[0]], ranks[split[1]]))
        merges.extend((_written(left), _written(right)) for left, right in known)
    numbers = {_written(token): rank for token, rank in ranks.items()} | vocabulary.special
    tokenizer = Tokenizer(models.BPE(vocab=numbers, merges=merges, fuse_unk=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(vocabulary.pattern), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    names = sorted(vocabulary.special, key=vocabulary.special.__getitem__)
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    for name in names:
        if tokenizer.token_to_id(name) != vocabulary.special[name]:
            raise unreadable(
                "The weights could not be loaded: their tokenizer numbers its special tokens in a way "
                "that is not supported."
            )
    return tokenizer


def speaks_nanochat(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer has nanochat's special tokens, found by name."""
    return all(tokenizer.token_to_id(name) is not None for name in NEEDED)


def token_id(tokenizer: Tokenizer, name: str) -> int:
    """The id of a token by its name. Raises LookupError."""
    number: int | None = tokenizer.token_to_id(name)
    if number is None:
        raise LookupError(name)
    return number


def read_tokenizer(path: Path) -> Tokenizer:
    """A `tokenizer.pkl` or `tokenizer.json` as a Tokenizer. Raises BackendFault."""
    if path.suffix == ".pkl":
        return rebuild(read_vocabulary(path))
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(path))
    except Exception as exc:  # the library raises nothing more specific
        raise unreadable(
            "The weights could not be loaded: their tokenizer file is damaged or of an unknown kind."
        ) from exc
