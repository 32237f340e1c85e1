"""PocketSphinx on spoken sentences: one segment an utterance, with words and times."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aistack.chunks import ModelSpec, Segment, Transcript, TranscriptionRequest
from aistack.engines import sphinx as module
from aistack.engines.sphinx import Sphinx, framed, spoken
from aistack.errors import BackendFault, Code
from tests.support.listening import (
    HELLO,
    HELLO_TEXT,
    TINY,
    Flag,
    assert_in_order,
    encode,
    listen,
    noise,
    samples_of,
    silence,
    wer,
    write_wav,
)


def test_an_utterance_is_a_segment(sphinx: Sphinx) -> None:
    heard = listen(sphinx, HELLO)
    assert wer(HELLO_TEXT, heard.text) == 0
    assert [segment.text for segment in heard.segments] == [
        "hello there",
        "the weather is nice today",
        "the boys went to the river with their father",
    ]
    assert_in_order(heard)
    assert [segment.start for segment in heard.segments] == pytest.approx([0.5, 2.1, 4.5], abs=0.2)
    assert heard.result == Transcript("en", len(samples_of(HELLO)) / 16_000)


def test_a61_words_in_time_order(sphinx: Sphinx) -> None:
    heard = listen(sphinx, HELLO)
    assert " ".join(word.word for word in heard.words) == heard.text
    assert all(type(word.start) is type(word.end) is float for word in heard.words)
    for segment in heard.segments:
        assert segment.words is not None
        assert (segment.words[0].start, segment.words[-1].end) == (segment.start, segment.end)


def test_a_run_leaves_nothing_behind(sphinx: Sphinx, tmp_path: Path) -> None:
    """The decoder adapts to what it hears; the next file must not depend on the last."""
    fresh = Sphinx()
    fresh.load(ModelSpec("pocketsphinx-en-us", "", "cpu"), lambda progress: None)
    first = listen(fresh, HELLO)
    listen(fresh, write_wav(tmp_path / "x.wav", samples_of(HELLO) // 20 + noise(7.175, 40)))
    assert listen(fresh, HELLO).segments == first.segments


@pytest.mark.parametrize("extra", [0, 1, 479])
def test_the_last_word_before_the_end_of_the_file(extra: int, sphinx: Sphinx, tmp_path: Path) -> None:
    """The library's own segmenter loses it when the file ends on the border of a 30 ms frame."""
    end = int(6.3 * 16_000) // 480 * 480 + extra
    heard = listen(sphinx, write_wav(tmp_path / "x.wav", samples_of(HELLO)[:end]))
    assert wer(HELLO_TEXT, heard.text) <= 1 / 16
    assert heard.segments[-1].end > 5.5


@pytest.mark.parametrize("kind", ["mp3", "webm"])
def test_a71_other_containers(kind: str, sphinx: Sphinx, tmp_path: Path) -> None:
    heard = listen(sphinx, encode(tmp_path / f"x.{kind}", samples_of(HELLO)))
    assert wer(HELLO_TEXT, heard.text) <= 0.2


@pytest.mark.parametrize(
    "samples", [silence(5), silence(0.1), noise(1)[:1], noise(0.01)], ids=["5s", "100ms", "1", "10ms"]
)
def test_a72_no_speech(samples: np.ndarray, sphinx: Sphinx, tmp_path: Path) -> None:
    heard = listen(sphinx, write_wav(tmp_path / "x.wav", samples))
    assert heard.segments == []
    assert heard.result == Transcript("en", len(samples) / 16_000)


def test_a69_what_is_no_audio(sphinx: Sphinx) -> None:
    with pytest.raises(BackendFault) as caught:
        listen(sphinx, TINY / "config.json")
    assert caught.value.fault.status == 400
    assert caught.value.fault.provider == "PocketSphinx"


def test_speech_without_a_pause_still_comes_in_parts(
    sphinx: Sphinx, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing can stop the last passes over an utterance, so none may grow without end."""
    said = samples_of(HELLO).astype(np.float32)
    loud = said[np.abs(said) > 300]
    fluent = np.tile(loud, 5)[: 12 * 16_000].astype(np.int16)
    path = write_wav(tmp_path / "x.wav", fluent)
    for soft, hard in ((100.0, 4.0), (2.0, 100.0)):
        monkeypatch.setattr(module, "SOFT_S", min(soft, hard))
        monkeypatch.setattr(module, "HARD_S", hard)
        monkeypatch.setattr(module, "QUIET", 0.0 if soft > hard else 0.9)
        heard = listen(sphinx, path)
        assert_in_order(heard)
        assert len(heard.segments) >= 3
        assert max(segment.end - segment.start for segment in heard.segments) <= 4.5
        assert heard.result.duration == 12


def test_a135_cancel_stops_within_a_tenth_of_a_second_of_audio(
    sphinx: Sphinx, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = Flag()
    heard_bytes = []
    decoder: Any = sphinx._decoder
    assert decoder is not None

    class Spy:
        def __getattr__(self, name: str) -> object:
            return getattr(decoder, name)

        def process_raw(self, data: bytes) -> object:
            heard_bytes.append(len(data))
            flag.on = len(heard_bytes) >= 5
            return decoder.process_raw(data)

    monkeypatch.setattr(sphinx, "_decoder", Spy())
    assert listen(sphinx, HELLO, flag).segments == []
    assert len(heard_bytes) == 5
    assert all(size <= 0.1 * 32_000 for size in heard_bytes[1:]), "in blocks of 100 ms at most"
    monkeypatch.undo()
    assert wer(HELLO_TEXT, listen(sphinx, HELLO).text) == 0, "the decoder is not left in the middle"


def test_cancel_between_segments(sphinx: Sphinx) -> None:
    flag = Flag()

    def stop(segment: Segment) -> None:
        flag.on = True

    heard = listen(sphinx, HELLO, flag, stop)
    assert [segment.text for segment in heard.segments] == ["hello there"]
    assert heard.result.duration < 7


def test_closing_the_run_leaves_the_decoder_usable(sphinx: Sphinx) -> None:
    run = sphinx.run(TranscriptionRequest(str(HELLO)), Flag())
    next(run)
    run.close()
    assert wer(HELLO_TEXT, listen(sphinx, HELLO).text) == 0


def test_signs_of_life_in_silence(sphinx: Sphinx, tmp_path: Path) -> None:
    heard = listen(sphinx, encode(tmp_path / "x.flac", silence(60)))
    assert 10 <= len(heard.progress) <= 20
    assert heard.progress[-1].total == 60


def test_a_library_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(BackendFault) as caught:
        Sphinx().load(ModelSpec("pocketsphinx-en-us", "", "cpu"), lambda progress: None)
    assert caught.value.fault.code is Code.BACKEND_MISSING


def test_a_model_that_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**options: object) -> object:
        raise RuntimeError("Failed to initialize PocketSphinx")

    monkeypatch.setattr("pocketsphinx.Decoder", broken)
    with pytest.raises(BackendFault) as caught:
        Sphinx().load(ModelSpec("pocketsphinx-en-us", "", "cpu"), lambda progress: None)
    assert (caught.value.fault.status, caught.value.fault.code) == (503, Code.MODEL_LOAD_FAILED)
    with pytest.raises(RuntimeError, match="before load"):
        listen(Sphinx(), HELLO)


def test_the_model(sphinx: Sphinx) -> None:
    (model,) = sphinx.models()
    assert (model.id, model.owned_by, model.languages) == ("pocketsphinx-en-us", "cmusphinx", ("en",))
    assert model.supports_streaming and model.word_timestamps and not model.translate


@pytest.mark.parametrize(
    ("word", "text"),
    [
        *(("the(2)", "the"), ("hello", "hello"), ("a(12)", "a"), ("it's", "it's")),
        *((word, "") for word in ("<sil>", "<s>", "</s>", "[NOISE]", "[SPEECH]", "++breath++")),
    ],
)
def test_spoken(word: str, text: str) -> None:
    assert spoken(word) == text


@pytest.mark.parametrize("size", [0, 1, 479, 480, 481, 5000])
def test_framed_loses_nothing_and_ends_short(size: int) -> None:
    said = noise(1)[:size]
    frames = list(framed(iter([said[: size // 3], said[size // 3 :]]), 960))
    assert all(len(frame) == 960 for frame in frames[:-1])
    assert 0 < len(frames[-1]) < 960
    joined = b"".join(frames)
    assert joined[: 2 * size] == said.tobytes() and set(joined[2 * size :]) <= {0}
