"""Whisper's multilingual vocabulary, and the few of its tokens that the tiny model uses.

The tokenizer is the one of openai/whisper-tiny, rebuilt from the ranks file that OpenAI ships in the
source package of `openai-whisper`, so that no model hub is needed.
"""

from __future__ import annotations

import base64
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

SIZE = 51_865
"""Tokens in all; with fewer the libraries take a model for an English-only one."""

STAMPS = 1501
"""Timestamps <|0.00|> to <|30.00|>, 20 ms apart."""

WORDS = {
    "en": ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
    "de": ["null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"],
    "zh": ["零", "一", "二", "三", "四", "五", "六", "七", "八", "九"],
}
"""All that the model understands; the same place in each list is the same digit."""

LANGUAGES = """
    en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg
    lt la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so
    af oc ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su
""".split()  # noqa: SIM905 - a hundred lines otherwise


def _alphabet() -> dict[int, str]:
    """The printable character that byte-level BPE writes for each byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {
        byte: chr(256 + place) for place, byte in enumerate(others)
    }


def _halves(token: bytes, ranks: dict[bytes, int]) -> list[bytes]:
    """What a token was merged from: its parts after all merges of a lower rank."""
    limit = ranks[token]
    parts = [bytes([byte]) for byte in token]
    while True:
        pairs = [
            (rank, at)
            for at in range(len(parts) - 1)
            if (rank := ranks.get(parts[at] + parts[at + 1], limit)) < limit
        ]
        if not pairs:
            return parts
        _, at = min(pairs)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]


def build_tokenizer(ranks_file: Path) -> Tokenizer:
    """The tokenizer from `multilingual.tiktoken`."""
    ranks: dict[bytes, int] = {}
    for line in ranks_file.read_bytes().splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    alphabet = _alphabet()

    def written(token: bytes) -> str:
        return "".join(alphabet[byte] for byte in token)

    merges = []
    for token in sorted(ranks, key=ranks.__getitem__):
        if len(token) > 1:
            parts = _halves(token, ranks)
            if len(parts) == 2:
                merges.append((written(parts[0]), written(parts[1])))
    vocabulary = {written(token): rank for token, rank in ranks.items()}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    names = ["endoftext", "startoftranscript", *LANGUAGES, "translate", "transcribe"]
    names += ["startoflm", "startofprev", "nospeech", "notimestamps"]
    tokenizer.add_special_tokens(
        [AddedToken(f"<|{name}|>", special=True, normalized=False) for name in names]
    )
    stamps = [f"<|{index * 0.02:.2f}|>" for index in range(STAMPS)]
    tokenizer.add_tokens([AddedToken(stamp, special=False, normalized=False) for stamp in stamps])
    if tokenizer.get_vocab_size() != SIZE or tokenizer.token_to_id("<|notimestamps|>") != 50363:
        raise ValueError("this is not the vocabulary of multilingual Whisper")
    return tokenizer


class Tokens:
    """The tokens in use. `index` maps their ids to dense places; `unused` is the place of all others."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

        def special(name: str) -> int:
            token = tokenizer.token_to_id(f"<|{name}|>")
            assert token is not None, name
            return token

        self.word: dict[str, list[int]] = {
            word: tokenizer.encode(
                word if language == "zh" else f" {word}", add_special_tokens=False
            ).ids
            for language, words in WORDS.items()
            for word in words
        }
        self.end, self.start = special("endoftext"), special("startoftranscript")
        self.previous, self.nospeech = special("startofprev"), special("nospeech")
        self.nostamps = special("notimestamps")
        self.stamp = self.nostamps + 1
        self.task = {name: special(name) for name in ("transcribe", "translate")}
        self.language = {name: special(name) for name in WORDS}
        text = sorted({token for ids in self.word.values() for token in ids})
        control = [self.end, self.start, self.previous, self.nospeech, self.nostamps]
        control += [*self.task.values(), *self.language.values()]
        self.ids = [*text, *control, *range(self.stamp, self.stamp + STAMPS)]
        self.index = {token: place for place, token in enumerate(self.ids)}
        self.unused = len(self.ids)
        self.frame_class = {token: place + 1 for place, token in enumerate(text)}

    def place(self, token: int) -> int:
        return self.index.get(token, self.unused)

    def stamped(self, half_frames: float) -> int:
        """The timestamp token of a time in units of 20 ms."""
        return self.stamp + min(max(round(half_frames), 0), STAMPS - 1)
