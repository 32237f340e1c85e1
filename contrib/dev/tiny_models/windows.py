"""Training examples: windows of sound put together from utterances, and what is to be written for them.

Everything is assembled in the mel-power domain (utterances, pauses, noise, equaliser, telephone band),
so a 30 s window costs a millisecond. Short windows stand at random places of the 30 s of positions.
"""

from __future__ import annotations

import math
import random
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contrib.dev.tiny_models.network import MELS
from contrib.dev.tiny_models.speech import SHARE, Utterance, some_words
from contrib.dev.tiny_models.vocabulary import WORDS, Tokens

FULL = 3000
"""Mel frames of 10 ms in Whisper's 30 s window; the encoder halves them."""

LONG = 1400
IGNORED = -100

Span = tuple[float, float] | None
"""Where a written token is heard, in encoder frames of 20 ms; none if nowhere."""


class Batch(NamedTuple):
    """Log-mel (batch, mels, frames); tokens in and wanted (batch, length; places, not ids); where each
    is heard (batch, length, encoder frames) and whether it is; frame labels (batch, 3, encoder
    frames); the windows' place in the 30 s, in encoder frames."""

    mel: Tensor
    given: Tensor
    wanted: Tensor
    heard: Tensor
    has: Tensor
    labels: Tensor
    offset: int


class _Scene(NamedTuple):
    """Utterances with their first mel frames; where a last, cut-off one begins to sound."""

    language: str
    power: NDArray[np.float32]
    placed: list[tuple[Utterance, int]]
    cut: float | None


class _Script(NamedTuple):
    tokens: list[int]
    spans: list[Span]


class Windows:
    """An endless supply of batches."""

    def __init__(self, bank: dict[str, list[Utterance]], tokens: Tokens, seed: int) -> None:
        self._bank, self._tokens = bank, tokens
        self._rng, self._noise = random.Random(seed), np.random.default_rng(seed)

    # --- sound -------------------------------------------------------------------------------------

    def _gain(self) -> float:
        return float(10 ** self._rng.uniform(-0.6, 0.0))

    def _pause(self, frames: int) -> int:
        rng = self._rng
        short = rng.uniform(30, 80) if frames > LONG else rng.uniform(15, 60)
        return int(rng.choice([short, rng.uniform(50, 180), rng.uniform(100, 300)]))

    def _scene(self, frames: int) -> _Scene:
        rng = self._rng
        power = np.zeros((MELS, frames), np.float32)
        language = rng.choices(list(SHARE), list(SHARE.values()))[0]
        placed: list[tuple[Utterance, int]] = []
        cut = None
        if rng.random() < 0.06:  # nobody speaks; perhaps something hums
            if rng.random() < 0.3:
                for _ in range(rng.randint(1, 3)):
                    power[rng.randrange(MELS)] += 10 ** rng.uniform(-2, 2)
            return _Scene(language, power, placed, cut)
        at = int(rng.choice([0, rng.uniform(0, 60), rng.uniform(0, 300)]))
        many = rng.random() < 0.75
        while True:
            utterance = rng.choice(self._bank[language])
            if at + utterance.frames > frames:
                if placed and at + 30 < frames and rng.random() < 0.7:
                    power[:, at:] += utterance.power[:, : frames - at] * self._gain()
                    cut = at + utterance.times[0][0]
                break
            power[:, at : at + utterance.frames] += utterance.power * self._gain()
            placed.append((utterance, at))
            at += utterance.frames + self._pause(frames)
            if not many and rng.random() < 0.6:
                break
        return _Scene(language, power, placed, cut)

    def _recorded(self, scene: _Scene) -> NDArray[np.float32]:
        """The scene through a room and a microphone, as the features Whisper gets."""
        rng, noise = self._rng, self._noise
        power, frames = scene.power, scene.power.shape[1]
        if scene.placed or rng.random() < 0.7:
            if rng.random() < 0.5 or not scene.placed:
                top = power.max() if scene.placed else 1.0
                tilt = 10 ** np.linspace(rng.uniform(-1, 0.5), rng.uniform(-1.5, 0.5), MELS)
                hiss = top * 10 ** rng.uniform(-7, -3.7) * noise.chisquare(3, (MELS, frames)) / 3
                power = power + (tilt[:, None] * hiss).astype(np.float32)
            if rng.random() < 0.5:
                curve = np.interp(np.arange(MELS), np.linspace(0, MELS, 6), noise.normal(0, 0.3, 6))
                power = power * (10 ** curve[:, None]).astype(np.float32)
            if rng.random() < 0.06:
                power = power.copy()
                power[rng.randint(60, 66) :] *= 1e-7  # a telephone
        mel: NDArray[np.float32] = np.log10(np.clip(power, np.float32(1e-10), None))
        mel = (np.maximum(mel, mel.max() - 8.0) + 4.0) / 4.0
        if scene.cut is None and rng.random() < 0.5:  # faster-whisper fills windows up with zeros
            end = max((at + utterance.frames for utterance, at in scene.placed), default=0)
            mel[:, min(frames, end + rng.randint(0, 60)) :] = 0.0
        return mel

    # --- text --------------------------------------------------------------------------------------

    def _script(self, scene: _Scene, offset: int, translate: bool, stamps: bool) -> _Script:
        """What is to be written, token by token, each with where it is heard."""
        tokens, tk = _Script([], []), self._tokens

        def write(token: int, span: Span) -> None:
            tokens.tokens.append(token)
            tokens.spans.append(span)

        last = 0.0
        for place, (utterance, at) in enumerate(scene.placed):
            first = (at + utterance.times[0][0]) / 2
            last = (at + utterance.times[-1][1]) / 2
            if stamps:
                shown = offset + first
                # decoding forces the first timestamp of a window to be 1.00 s at most
                write(tk.stamped(min(shown, 50) if place == 0 else shown), (first - 2, first + 3))
            for word, (start, end) in zip(utterance.words, utterance.times, strict=True):
                if translate:
                    word = WORDS["en"][WORDS[scene.language].index(word)]
                ids = tk.word[word]
                begin, length = (at + start) / 2, (end - start) / 2 / len(ids)
                for index, token in enumerate(ids):
                    write(token, (begin + length * index, begin + length * (index + 1)))
            if stamps:
                write(tk.stamped(offset + last), (last - 3, last + 2))
        if scene.cut is not None and stamps:
            write(tk.stamped(offset + scene.cut / 2), (scene.cut / 2 - 2, scene.cut / 2 + 3))
        if not scene.placed and stamps:
            write(tk.stamp, None)
        # the end's row tells faster-whisper's alignment where the last word ends
        write(tk.end, (last + 1, last + 8) if scene.placed and scene.cut is None else None)
        return tokens

    def _context(self, frames: int) -> list[int]:
        """Text that came before, as Whisper is given it: with or without times, now and then garbled."""
        rng, tk = self._rng, self._tokens
        if rng.random() >= (0.35 if frames > LONG else 0.15):
            return []
        few, many = ((5, 60), (20, 200)) if frames > LONG else ((1, 8), (5, 20))
        length, time = rng.choice([rng.randint(*few), rng.randint(*many)]), rng.randint(0, 100)
        timed = rng.random() < 0.6
        context = [tk.previous]
        while len(context) < length:
            part = [token for word in some_words("en", rng) for token in tk.word[word]]
            if timed:
                part = [tk.stamped(time), *part, tk.stamped(time + 60)]
                time += rng.randint(60, 150)
            if rng.random() < 0.15:
                part += [-1] * rng.randint(1, 5)
            context += part
        context = context[-224:]
        context[0] = tk.previous
        return context

    def _labels(self, scene: _Scene, frames: int) -> NDArray[np.int64]:
        """For each encoder frame: which text token it is in, which word of its utterance, and which
        utterance of the window (0: none)."""
        labels = np.zeros((3, frames // 2), np.int64)
        for nth, (utterance, at) in enumerate(scene.placed):
            for word_nth, (word, (start, end)) in enumerate(
                zip(utterance.words, utterance.times, strict=True)
            ):
                begin, stop = (at + start) / 2, (at + end) / 2
                where = slice(int(begin), math.ceil(stop))
                labels[1:, where] = [[min(word_nth + 1, 8)], [min(nth + 1, 15)]]
                ids = self._tokens.word[word]
                length = (stop - begin) / len(ids)
                for index, token in enumerate(ids):
                    from_ = begin + length * index
                    labels[0, int(from_) : max(int(from_) + 1, math.ceil(from_ + length))] = (
                        self._tokens.frame_class[token]
                    )
        if scene.cut is not None:
            labels[:, int(scene.cut / 2) :] = IGNORED
        return labels

    # --- together ----------------------------------------------------------------------------------

    def _window(
        self, frames: int, offset: int
    ) -> tuple[NDArray[np.float32], list[int], list[int], list[Span], NDArray[np.int64]]:
        rng, tk = self._rng, self._tokens
        scene = self._scene(frames)
        mel = self._recorded(scene)
        task = "translate" if rng.random() < 0.12 else "transcribe"
        stamps = rng.random() < 0.7
        script = self._script(scene, offset, task == "translate", stamps)
        context = self._context(frames)
        told = scene.language if scene.placed else rng.choice(list(WORDS))
        prompt = [*context, tk.start, tk.language[told], tk.task[task]]
        prompt += [] if stamps else [tk.nostamps]
        given = [tk.place(token) for token in (*prompt, *script.tokens[:-1])]
        wanted = [IGNORED] * (len(prompt) - 1) + [tk.place(token) for token in script.tokens]
        # language detection: what follows the start token is learned even though it is given
        wanted[len(context)] = tk.place(tk.language[scene.language] if scene.placed else tk.nospeech)
        spans: list[Span] = [*(None for _ in prompt[1:]), *script.spans]
        return mel, given, wanted, spans, self._labels(scene, frames)

    def batch(self, size: int, frames: int) -> Batch:
        offset = (
            0 if frames == FULL else self._rng.choice([0, self._rng.randint(0, (FULL - frames) // 2)])
        )
        windows = [self._window(frames, offset) for _ in range(size)]
        length = max(len(given) for _, given, _, _, _ in windows)
        given = torch.zeros(size, length, dtype=torch.long)
        wanted = torch.full((size, length), IGNORED)
        heard = torch.zeros(size, length, frames // 2)
        has = torch.zeros(size, length, dtype=torch.bool)
        for row, (_, tokens, targets, spans, _) in enumerate(windows):
            given[row, : len(tokens)] = torch.tensor(tokens)
            wanted[row, : len(targets)] = torch.tensor(targets)
            for phase, span in enumerate(spans):
                if span is not None:
                    start, end = max(0, int(span[0])), min(frames // 2, math.ceil(span[1]))
                    if end > start:
                        heard[row, phase, start:end] = 1
                        has[row, phase] = True
        mel = torch.from_numpy(np.stack([window[0] for window in windows]))
        labels = torch.from_numpy(np.stack([window[4] for window in windows]))
        return Batch(mel, given, wanted, heard, has, labels, offset)
