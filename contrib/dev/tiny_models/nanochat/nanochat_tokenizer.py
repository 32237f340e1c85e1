"""Trains a byte-level BPE vocabulary on a few lines, and saves it the way nanochat does."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import regex

PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]++[\r\n]*"
    r"|\s*[\r\n]|\s+(?!\S)|\s+"
)
"""nanochat's split pattern: GPT-4's, with digits in groups of at most two."""

SPECIAL = tuple(
    f"<|{name}|>"
    for name in (
        "bos",
        "user_start",
        "user_end",
        "assistant_start",
        "assistant_end",
        "python_start",
        "python_end",
        "output_start",
        "output_end",
    )
)

Pair = tuple[bytes, bytes]


def train(texts: Iterable[str], size: int) -> dict[bytes, int]:
    """Merge ranks: 256 bytes, then the most frequent pairs, ties by their bytes."""
    words: Counter[tuple[bytes, ...]] = Counter()
    for text in texts:
        for word in regex.findall(PATTERN, text):
            words[tuple(bytes([value]) for value in word.encode())] += 1
    ranks = {bytes([value]): value for value in range(256)}
    while len(ranks) < size:
        pairs: Counter[Pair] = Counter()
        for word, count in words.items():
            for pair in pairwise(word):
                pairs[pair] += count
        if not pairs:
            break
        left, right = min(pairs, key=lambda pair: (-pairs[pair], pair))
        ranks[left + right] = len(ranks)
        merged: Counter[tuple[bytes, ...]] = Counter()
        for word, count in words.items():
            merged[_merge(word, (left, right))] += count
        words = merged
    return ranks


def _merge(word: tuple[bytes, ...], pair: Pair) -> tuple[bytes, ...]:
    parts: list[bytes] = []
    at = 0
    while at < len(word):
        if word[at : at + 2] == pair:
            parts.append(word[at] + word[at + 1])
            at += 2
        else:
            parts.append(word[at])
            at += 1
    return tuple(parts)


def save(ranks: dict[bytes, int], path: Path) -> None:
    """Pickle a tiktoken Encoding with the special tokens after the merges, as nanochat does."""
    import tiktoken

    encoding = tiktoken.Encoding(
        name="rustbpe",
        pat_str=PATTERN,
        mergeable_ranks=ranks,
        special_tokens={name: len(ranks) + place for place, name in enumerate(SPECIAL)},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(encoding))
