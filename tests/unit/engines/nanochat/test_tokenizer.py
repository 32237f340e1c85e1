"""nanochat's tokenizer file: rebuilt exactly, special names stay text, nothing in it is run."""

from __future__ import annotations

import pickle
import random
from pathlib import Path
from typing import Any

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from aistack.engines.nanochat import tokenizer as nano_tokenizer
from aistack.engines.nanochat.prompt import Text
from aistack.engines.nanochat.tokenizer import (
    ASSISTANT,
    BOS,
    Vocabulary,
    alphabet,
    read_tokenizer,
    read_vocabulary,
    rebuild,
    token_id,
)
from aistack.errors import BackendFault
from tests.unit.engines.nanochat.conftest import ADA, BO, ROOT

FILE = ROOT / "tiny-ada" / "tokenizer" / "tokenizer.pkl"
VOCABULARY = read_vocabulary(FILE)


def reference(vocabulary: Vocabulary, text: str) -> list[int]:
    """Byte-pair encoding by definition: the leftmost pair of the lowest rank is joined, repeatedly."""
    ids = []
    for word in regex.findall(vocabulary.pattern, text):
        parts = [bytes([value]) for value in word.encode()]
        while True:
            ranks = [
                (vocabulary.ranks[parts[at] + parts[at + 1]], at)
                for at in range(len(parts) - 1)
                if parts[at] + parts[at + 1] in vocabulary.ranks
            ]
            if not ranks:
                break
            _, at = min(ranks)
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        ids += [vocabulary.ranks[part] for part in parts]
    return ids


TEXT = Text(read_tokenizer(FILE))
KNOWN = [text for answers in (ADA, BO) for pair in answers.items() for text in pair]
PARTS = st.one_of(
    st.sampled_from(KNOWN),
    st.text(max_size=20),
    st.text("aeinstrhdoßü 123.,!\n\t'", max_size=30),
    st.sampled_from([*VOCABULARY.special, "'ll", " \r\n", "12345", "👩‍🚀", "艾达"]),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(PARTS, max_size=5).map("".join))
def test_the_rebuilt_tokenizer_is_the_original(text: str) -> None:
    clean = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert TEXT.ids(text) == reference(VOCABULARY, clean)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.text("ab", min_size=1, max_size=40))
def test_the_rebuilt_tokenizer_with_many_overlapping_merges(seed: int, text: str) -> None:
    """Two letters only, merges in a random but possible order: every tie that can happen does."""
    choose = random.Random(seed)
    ranks = {bytes([value]): value for value in range(256)}
    tokens = [b"a", b"b"]
    while len(tokens) < 14:
        new = choose.choice(tokens) + choose.choice(tokens)
        if new not in ranks:
            ranks[new] = len(ranks)
            tokens.append(new)
    vocabulary = Vocabulary(VOCABULARY.pattern, ranks, {BOS: len(ranks)})
    assert Text(rebuild(vocabulary)).ids(text) == reference(vocabulary, text)


@pytest.mark.parametrize("name", sorted(VOCABULARY.special))
def test_b97_names_of_special_tokens_are_text(name: str) -> None:
    ids = TEXT.ids(f"before {name} after")
    assert not set(ids) & set(VOCABULARY.special.values())
    assert ids == reference(VOCABULARY, f"before {name} after")


def test_special_ids_are_found_by_name_wherever_they_are() -> None:
    """Some tokenizers of 2025 had them first."""
    special = {name: place for place, name in enumerate(VOCABULARY.special)}
    ranks = {token: rank + len(special) for token, rank in VOCABULARY.ranks.items()}
    tokenizer = rebuild(Vocabulary(VOCABULARY.pattern, ranks, special))
    assert token_id(tokenizer, BOS) == 0
    assert token_id(tokenizer, ASSISTANT[1]) == special[ASSISTANT[1]]
    assert min(Text(tokenizer).ids("Who are <|bos|> you?")) >= len(special)


def test_the_alphabet_has_a_character_for_every_byte() -> None:
    from tokenizers.pre_tokenizers import ByteLevel

    assert sorted(alphabet()) == list(range(256))
    assert set(alphabet().values()) == set(ByteLevel.alphabet())


class _Reduces:
    def __init__(self, *what: Any) -> None:
        self.what = what

    def __reduce__(self) -> tuple[Any, ...]:
        return self.what


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a pickle",
        FILE.read_bytes()[:2000],
        pickle.dumps({"pat_str": "x"}),
        pickle.dumps(_Reduces(print, ("ran",))),
        pickle.dumps(_Reduces(eval, ("1",))),
        pickle.dumps([Path("x")]),
        FILE.read_bytes().replace(b"Encoding", b"CoreBPE."),
    ],
)
def test_a_file_that_is_no_tokenizer_is_refused(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tokenizer.pkl"
    file.write_bytes(content)
    with pytest.raises(BackendFault):
        read_vocabulary(file)
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("ranks", "special"),
    [
        ({}, {BOS: 0}),
        ({b"a": 0}, {BOS: 1}),
        (VOCABULARY.ranks, {BOS: 375 + 1}),
        (VOCABULARY.ranks, {BOS: 0}),
        (VOCABULARY.ranks, {7: 375}),
        ({**VOCABULARY.ranks} | {"text": 375}, {BOS: 376}),
        ({**VOCABULARY.ranks, b"xyz": True}, {BOS: 375}),
    ],
)
def test_a_vocabulary_that_makes_no_sense_is_refused(ranks: Any, special: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        nano_tokenizer._check(Vocabulary(VOCABULARY.pattern, ranks, special))


@pytest.mark.parametrize("name", ["tokenizer.pkl", "tokenizer.json"])
def test_a_damaged_file_of_either_kind_is_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(b'{"model": {"type": "BPE"')
    with pytest.raises(BackendFault) as caught:
        read_tokenizer(file)
    assert str(tmp_path) not in caught.value.fault.message
