"""Joining the words of two overlapping windows into one timeline, with no word doubled or lost.

Both windows heard the overlap, each badly near its own edge and well in the middle. The words that
both heard are found as the longest common subsequence in which the two of a pair also lie close in
time (the same word a minute later is another word); the cut goes through the pair nearest to the
middle of the overlap, where both windows knew the context.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import evolve

from aistack.chunks import Word

NEAR_S = 1.0
"""How far apart two windows may date the same word, in seconds."""


def normalised(word: str) -> str:
    """What of a word is compared: its letters and digits, without case."""
    return "".join(char for char in word.casefold() if char.isalnum())


def common(left: Sequence[Word], right: Sequence[Word]) -> list[tuple[int, int]]:
    """Pairs of indices of the best common subsequence of two lists of words, in order.

    A pair must agree in its normalised word and in its start up to NEAR_S; it counts one, less up to
    a half for the distance, so that of equally long subsequences the one closest in time is chosen.
    """
    ours, theirs = [normalised(word.word) for word in left], [normalised(word.word) for word in right]
    # best[i][j]: the worth of the best pairing of left[i:] with right[j:]
    best = [[0.0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i in range(len(left) - 1, -1, -1):
        row, below = best[i], best[i + 1]
        for j in range(len(right) - 1, -1, -1):
            worth = max(below[j], row[j + 1])
            if ours[i] and ours[i] == theirs[j]:
                worth = max(worth, below[j + 1] + _closeness(left[i], right[j]))
            row[j] = worth
    pairs: list[tuple[int, int]] = []
    i = j = 0
    while i < len(left) and j < len(right):
        if best[i][j] == best[i + 1][j]:
            i += 1
        elif best[i][j] == best[i][j + 1]:
            j += 1
        else:
            pairs.append((i, j))
            i, j = i + 1, j + 1
    return pairs


def _closeness(one: Word, other: Word) -> float:
    """1 for the same time, 0.5 for NEAR_S apart, beyond that worse than no pair at all."""
    distance = abs(one.start - other.start)
    return 1 - distance / (2 * NEAR_S) if distance <= NEAR_S else -1.0


def stitched(left: Sequence[Word], right: Sequence[Word], start: float, end: float) -> list[Word]:
    """The words of both windows, cut once in the overlap from `start` to `end` (seconds).

    With no common word the cut is in the middle of the overlap, and a word belongs to the side its
    own middle lies on; where only one side heard anything in the overlap, that side is believed.
    Times are those of the windows: `ordered` makes them monotone.
    """
    middle = (start + end) / 2
    first = next((i for i, word in enumerate(left) if word.end >= start - NEAR_S), len(left))
    last = next((j for j, word in enumerate(right) if word.start > end + NEAR_S), len(right))
    pairs = common(left[first:], right[:last])
    if not pairs:
        if not any(start <= _middle(word) for word in left):
            middle = start  # one side heard nothing here: what the other heard is not lost
        elif not any(_middle(word) <= end for word in right):
            middle = end
        return [
            *(word for word in left if _middle(word) < middle),
            *(word for word in right if _middle(word) >= middle),
        ]
    i, j = min(pairs, key=lambda pair: abs(left[first + pair[0]].start - middle))
    return [*left[: first + i + 1], *right[j + 1 :]]


def _middle(word: Word) -> float:
    return (word.start + word.end) / 2


def ordered(words: Iterable[Word], duration: float) -> list[Word]:
    """The same words with times in order: no word overlaps the next or ends after the audio."""
    result: list[Word] = []
    for word in words:
        start = round(min(max(word.start, 0.0), duration), 3)
        if result:
            start = max(start, result[-1].start)
            result[-1] = evolve(result[-1], end=min(result[-1].end, start))
        end = round(min(word.end, duration), 3)
        result.append(Word(start, max(start, end), word.word))
    return result
