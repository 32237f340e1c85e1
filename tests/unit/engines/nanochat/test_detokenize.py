"""Token ids to text: whole characters, nothing lost, no token looked at twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from aistack.engines.nanochat.detokenize import (
    ByteDecoder,
    Detokenizer,
    StopStrings,
    WindowDecoder,
    byte_pieces,
    byte_tokens,
)
from aistack.engines.nanochat.tokenizer import read_tokenizer
from tests.unit.engines.nanochat.conftest import ROOT

TOKENIZER = read_tokenizer(ROOT / "tiny-ada" / "tokenizer" / "tokenizer.pkl")
BYTES = Tokenizer(
    models.BPE(vocab={f"<0x{value:02X}>": value for value in range(256)}, merges=[], byte_fallback=True)
)
BYTES.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])


def pieces(decoder: ByteDecoder | WindowDecoder, data: bytes) -> list[str]:
    """What comes out byte by byte (in both vocabularies, token N is byte N), and at the end."""
    return [*(decoder.feed(value) for value in data), decoder.end()]


def window_decoder() -> WindowDecoder:
    return WindowDecoder(BYTES, byte_tokens(BYTES))


def byte_decoder() -> ByteDecoder:
    found = byte_pieces(TOKENIZER)
    assert found is not None
    return ByteDecoder(found)


def test_b22_a_character_split_over_tokens_comes_whole() -> None:
    for decoder in (byte_decoder(), window_decoder()):
        assert pieces(decoder, "🦉é".encode()) == ["", "", "", "🦉", "", "é", ""]


@given(st.text())
def test_joined_text_is_the_text(text: str) -> None:
    data = text.encode("utf-8", "replace")
    for decoder in (byte_decoder(), window_decoder()):
        out = pieces(decoder, data)
        assert "".join(out) == data.decode()
        assert all(not piece or piece in text for piece in out)


@given(st.binary())
def test_any_bytes_become_what_a_utf8_reader_makes_of_them(data: bytes) -> None:
    for decoder in (byte_decoder(), window_decoder()):
        assert "".join(pieces(decoder, data)) == data.decode("utf-8", "replace")


def test_dangling_bytes_at_the_end_become_replacement_characters() -> None:
    for decoder in (byte_decoder(), window_decoder()):
        out = pieces(decoder, b"a" + "🦉".encode()[:3])
        assert out[0] == "a"
        assert out[-1].strip("\ufffd") == ""
        assert "\ufffd" in out[-1]


def test_an_invalid_byte_is_told_at_once_and_what_follows_is_kept() -> None:
    for decoder in (byte_decoder(), window_decoder()):
        assert pieces(decoder, b"\xff\xfea") == ["\ufffd", "\ufffd", "a", ""]


class Words:
    """A decoder that writes a blank between words, and U+FFFD for words it cannot finish."""

    most = 0

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        self.most = max(self.most, len(ids))
        return " ".join("\ufffd" if number == 0 else f"w{number}" for number in ids)


def test_a_window_keeps_what_stands_between_two_tokens() -> None:
    decoder = WindowDecoder(Words(), {})
    assert [decoder.feed(number) for number in (3, 4, 5)] == ["w3", " w4", " w5"]


def test_the_cost_of_a_token_does_not_grow() -> None:
    """The window never holds more than a few tokens, however many came before, readable or not."""
    words = Words()
    decoder = WindowDecoder(words, {})
    for number in [0] * 500 + [7] * 500:
        decoder.feed(number)
    assert words.most <= 8
    assert decoder.end() == ""


SENTENCEPIECE = [f"<0x{value:02X}>" for value in range(256)] + [
    "▁Hello",
    "▁world",
    "▁",
    "wor",
    "ld",
    "!",
]


@given(st.lists(st.integers(256, 261) | st.sampled_from(list("🦉é\n".encode())), max_size=12))
def test_blanks_of_a_sentencepiece_vocabulary_are_the_librarys(tokens: list[int]) -> None:
    """As Llama's: a blank before words but not at the beginning, bytes for what has no entry."""
    numbers = {name: number for number, name in enumerate(SENTENCEPIECE)}
    tokenizer = Tokenizer(models.BPE(vocab=numbers, merges=[], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    decoder = Detokenizer(tokenizer).decoder()
    found = "".join([*(decoder.feed(token) for token in tokens), decoder.end()])
    whole = b"".join(
        bytes([token]) if token < 256 else SENTENCEPIECE[token].replace("▁", " ").encode()
        for token in tokens
    )
    assert found == whole.decode("utf-8", "replace").removeprefix(" ")


def test_text_and_bytes_in_turn() -> None:
    decoder = WindowDecoder(Words(), {200: 0xC3, 201: 0xA9, 202: 0xFF})
    out = [decoder.feed(number) for number in (1, 200, 201, 2, 202, 200, 3)]
    assert out == ["w1", "", "é", "w2", "\ufffd", "", "\ufffdw3"]


def test_special_tokens_other_than_stops_are_shown_by_their_names() -> None:
    number = TOKENIZER.token_to_id("<|python_start|>")
    assert number is not None
    assert Detokenizer(TOKENIZER).decoder().feed(number) == "<|python_start|>"


def test_which_vocabularies_are_byte_level() -> None:
    assert isinstance(Detokenizer(TOKENIZER).decoder(), ByteDecoder)
    assert isinstance(Detokenizer(BYTES).decoder(), WindowDecoder)


# --- stop strings -----------------------------------------------------------------------------------


@given(
    st.text("ab\n", max_size=30),
    st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3),
    st.data(),
)
def test_a_text_ends_before_the_first_stop_string(
    text: str, stops: list[str], data: st.DataObject
) -> None:
    ends = [(end, stop) for end in range(len(text) + 1) for stop in stops if text[:end].endswith(stop)]
    first = min((end for end, _ in ends), default=0)
    longest = max((len(stop) for end, stop in ends if end == first), default=0)
    wanted = text[: first - longest] if ends else text
    cut = StopStrings(stops)
    out, at = "", 0
    while at < len(text):
        size = data.draw(st.integers(1, 4))
        piece = cut.feed(text[at : at + size])
        assert wanted.startswith(out + piece)
        out += piece
        at += size
    assert out + cut.end() == wanted
    assert cut.met == bool(ends)


@pytest.mark.parametrize("pieces", [["aba"], ["a", "ba"], ["ab", "a"], ["a", "b", "a"]])
def test_which_stop_string_counts_does_not_depend_on_the_pieces(pieces: list[str]) -> None:
    """Once "b" is there the text is over: nobody waits to see whether "aba" comes of it."""
    cut = StopStrings(["b", "aba"])
    assert "".join(cut.feed(piece) for piece in pieces) + cut.end() == "a"
    assert cut.met


def test_what_cannot_begin_a_stop_string_is_not_held_back() -> None:
    cut = StopStrings(["\nUser:"])
    assert cut.feed("hello") == "hello"
    assert cut.feed(" there\nUs") == " there"
    assert cut.feed("ual") == "\nUsual"
    assert StopStrings([""]).feed("x") == "x"
