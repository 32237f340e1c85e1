"""Whisper on the tiny model: what it hears, in which form, and that nothing odd makes it fail."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faster_whisper import WhisperModel

from aistack.chunks import Segment, Transcript, TranscriptionRequest, from_frame, to_frame
from aistack.engines import whisper as module
from aistack.engines.segments import spaced
from aistack.engines.whisper import LANGUAGES, Whisper, known, warm_up
from aistack.errors import BackendFault, ErrorKind
from aistack.weights.whisper import SIZES
from tests.support.listening import (
    AUDIO,
    SPOKEN,
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

EN, DE, LONG = AUDIO / "digits-en.wav", AUDIO / "digits-de.wav", AUDIO / "digits-en-long.wav"
EXACT: dict[str, Any] = {"temperature": 0.0}


def inside(whisper: Whisper) -> Any:
    """The library's model of a loaded engine."""
    assert whisper._model is not None
    return whisper._model


@pytest.fixture(scope="module")
def direct() -> WhisperModel:
    """The library itself, as a user of it would call it."""
    return WhisperModel(str(TINY), device="cpu", compute_type="int8", cpu_threads=1)


@pytest.mark.parametrize("path", [EN, DE, LONG], ids=lambda path: path.stem)
def test_a57_the_same_text_as_the_library(path: Path, whisper: Whisper, direct: WhisperModel) -> None:
    """Text, times and figures, whatever the error rate is."""
    heard = listen(whisper, path, **EXACT)
    # faster-whisper 1.2.1 reads no file with PyAV 19
    samples = samples_of(path).astype(np.float32) / 32768
    segments, info = direct.transcribe(
        samples, beam_size=5, vad_filter=True, word_timestamps=True, temperature=0.0
    )
    wanted = list(segments)
    assert [segment.text for segment in heard.segments] == [found.text.strip() for found in wanted]
    assert heard.result.language == info.language == SPOKEN[path.name]["language"]
    for mine, theirs in zip(heard.segments, wanted, strict=True):
        assert mine.start == pytest.approx(theirs.start, abs=0.001)
        assert mine.end == pytest.approx(theirs.end, abs=0.001)
        assert mine.tokens == tuple(theirs.tokens)
        assert mine.seek == theirs.seek
        assert [word.word for word in mine.words or ()] == [w.word.strip() for w in theirs.words]
    said = SPOKEN[path.name]["text"]
    assert wer(said, heard.text) == wer(said, " ".join(found.text for found in wanted))


@pytest.mark.parametrize("path", [EN, DE], ids=lambda path: path.stem)
def test_short_recordings_without_a_mistake(path: Path, whisper: Whisper) -> None:
    heard = listen(whisper, path)
    assert wer(SPOKEN[path.name]["text"], heard.text) == 0
    assert heard.result == Transcript(SPOKEN[path.name]["language"], heard.result.duration)


def test_a63_duration_is_the_length_of_the_audio(whisper: Whisper) -> None:
    for path in (EN, DE):
        assert listen(whisper, path).result.duration == len(samples_of(path)) / 16_000


def test_a61_words_in_time_order(whisper: Whisper) -> None:
    heard = listen(whisper, LONG)
    assert_in_order(heard)
    assert len(heard.segments) > 20
    assert " ".join(word.word for word in heard.words) == heard.text
    starts = [start for seg in SPOKEN[EN.name]["segments"] for start in seg["word_starts"]]
    words = listen(whisper, EN).words
    assert [word.start for word in words[1:]] == pytest.approx(starts[1:], abs=0.15)


def test_a111_all_fields_are_plain_numbers(whisper: Whisper) -> None:
    for segment in listen(whisper, LONG, batched=True).segments + listen(whisper, EN).segments:
        for name in (
            "start",
            "end",
            "temperature",
            "avg_logprob",
            "compression_ratio",
            "no_speech_prob",
        ):
            value = getattr(segment, name)
            assert type(value) is float and math.isfinite(value), name
        assert type(segment.seek) is int and segment.tokens
        assert all(type(token) is int for token in segment.tokens)
        assert all(type(word.start) is type(word.end) is float for word in segment.words or ())
        assert segment.text == segment.text.strip() != ""
        assert all(word.word == word.word.strip() != "" for word in segment.words or ())
        again = from_frame(json.loads(json.dumps(to_frame(segment), allow_nan=False)))
        assert again == segment


def test_a62_joined_text(whisper: Whisper) -> None:
    """Through `spaced`, as the child process runs it, segments and their leads are the text."""
    run = spaced(whisper.run(TranscriptionRequest(str(LONG)), Flag()))
    pieces: list[str] = []
    while True:
        try:
            item = next(run)
        except StopIteration as stop:
            assert stop.value.text == "".join(pieces)
            break
        if isinstance(item, Segment):
            pieces.append(item.lead + item.text)
    assert len(pieces) > 20 and pieces[1].startswith(" ")


def test_a95_translate(whisper: Whisper) -> None:
    heard = listen(whisper, DE, translate=True)
    assert heard.text == "two seven one eight"
    assert heard.result.language == "de"
    assert listen(whisper, DE).text == "zwei sieben eins acht"


@pytest.mark.parametrize("hint", ["xx", "english", "auto", "", "e", None])
def test_a87_unknown_hints_are_no_hints(hint: str | None, whisper: Whisper) -> None:
    heard = listen(whisper, DE, language=hint)
    assert (heard.result.language, heard.text) == ("de", "zwei sieben eins acht")


@pytest.mark.parametrize(
    ("hint", "code"), [("de-AT", "de"), ("DE", "de"), ("en_US", "en"), ("fr", "fr")]
)
def test_a87_a_wrong_hint_is_taken_and_does_not_fail(hint: str, code: str, whisper: Whisper) -> None:
    heard = listen(whisper, DE, language=hint)
    assert heard.result.language == code
    assert heard.segments


def test_an_english_only_model_neither_translates_nor_takes_hints(
    whisper: Whisper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library would warn of either and go on: such a model has no other language or task."""
    assert known("de", ["en"]) is None and known("en-GB", ["en"]) == "en"
    calls = []
    real = inside(whisper).transcribe

    def spy(*args: object, **options: object) -> object:
        calls.append(options)
        return real(*args, **options)

    monkeypatch.setattr(inside(whisper), "transcribe", spy)
    listen(whisper, DE, translate=True)
    monkeypatch.setattr(Whisper, "_multilingual", False)
    listen(whisper, DE, translate=True)
    assert [call["task"] for call in calls] == ["translate", "transcribe"]


def test_prompt_hotwords_and_temperature_reach_the_library(
    whisper: Whisper, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    real = inside(whisper).transcribe

    def spy(*args: object, **options: object) -> object:
        calls.append(options)
        return real(*args, **options)

    monkeypatch.setattr(inside(whisper), "transcribe", spy)
    heard = listen(whisper, EN, prompt="one two three", hotwords="nine", temperature=0.2)
    assert heard.segments
    assert calls[0]["initial_prompt"] == "one two three"
    assert calls[0]["hotwords"] == "nine" and calls[0]["temperature"] == 0.2
    listen(whisper, EN, prompt="", hotwords="")
    assert calls[1]["initial_prompt"] is None and calls[1]["hotwords"] is None
    assert "temperature" not in calls[1]
    assert all(
        call["beam_size"] == 5 and call["vad_filter"] and call["word_timestamps"] for call in calls
    )


def test_a_prompt_far_too_long_is_cut_and_not_refused(whisper: Whisper) -> None:
    assert listen(whisper, EN, prompt="seven " * 2000).result.language == "en"


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize(
    "samples",
    [silence(3), silence(65), noise(3), noise(3)[:1], noise(1)[:399], noise(0.1), silence(0.01)],
    ids=["silence", "long-silence", "noise", "1-sample", "399-samples", "100ms", "10ms"],
)
def test_a72_no_speech(samples: np.ndarray, batched: bool, whisper: Whisper, tmp_path: Path) -> None:
    heard = listen(whisper, write_wav(tmp_path / "x.wav", samples), batched=batched)
    assert heard.segments == []
    assert heard.result == Transcript("und", len(samples) / 16_000)
    assert listen(whisper, tmp_path / "x.wav", language="fi", batched=batched).result.language == "fi"


@pytest.mark.parametrize("kind", ["mp3", "m4a", "flac", "ogg", "webm", "mp4", "mkv"])
def test_a71_every_container_is_understood(kind: str, whisper: Whisper, tmp_path: Path) -> None:
    path = encode(tmp_path / f"x.{kind}", samples_of(EN), video=kind in ("mp4", "mkv"))
    heard = listen(whisper, path)
    assert wer(SPOKEN[EN.name]["text"], heard.text) <= 1 / 6
    assert heard.result.duration == pytest.approx(SPOKEN[EN.name]["duration"], abs=0.15)


def test_a69_what_is_no_audio(whisper: Whisper) -> None:
    with pytest.raises(BackendFault) as caught:
        listen(whisper, TINY / "config.json")
    assert caught.value.fault.status == 400
    assert caught.value.fault.provider == "Faster-Whisper"
    assert listen(whisper, DE).segments, "the engine goes on"


def test_batched_gives_real_segments(whisper: Whisper) -> None:
    heard = listen(whisper, LONG, batched=True)
    assert_in_order(heard)
    assert len(heard.segments) >= 20
    assert wer(SPOKEN[LONG.name]["text"], heard.text) < 0.5


# --- cancel ----------------------------------------------------------------------------------------


@pytest.fixture
def encoded(whisper: Whisper, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many windows the model has worked on: one entry each."""
    calls: list[int] = []
    real = inside(whisper).encode

    def count(features: np.ndarray) -> object:
        calls.append(1)
        return real(features)

    monkeypatch.setattr(inside(whisper), "encode", count)
    return calls


def test_a135_cancel_between_segments_really_stops(whisper: Whisper, encoded: list[int]) -> None:
    listen(whisper, LONG, language="en")
    whole = len(encoded)
    encoded.clear()
    flag = Flag()

    def stop(segment: Segment) -> None:
        flag.on = True

    heard = listen(whisper, LONG, flag, stop, language="en")
    assert len(heard.segments) == 1
    assert len(encoded) == 1 < whole
    assert listen(whisper, EN).text == SPOKEN[EN.name]["text"], "the next run is unharmed"


def test_cancel_before_anything(whisper: Whisper, encoded: list[int]) -> None:
    flag = Flag()
    flag.on = True
    assert listen(whisper, LONG, flag).segments == [] and encoded == []


def test_cancel_while_decoding(whisper: Whisper, encoded: list[int], tmp_path: Path) -> None:
    path = encode(tmp_path / "x.flac", noise(120))
    heard = listen(whisper, path, Flag(looks=100))
    assert heard.result.duration < 60 and encoded == []


def test_closing_the_run_closes_the_librarys_generator(whisper: Whisper, encoded: list[int]) -> None:
    run = whisper.run(TranscriptionRequest(str(LONG), "en"), Flag())
    while not isinstance(next(run), Segment):
        pass
    run.close()
    assert len(encoded) == 1


# --- long audio ------------------------------------------------------------------------------------


def test_a107_pieces_make_one_timeline(whisper: Whisper, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = listen(whisper, LONG, **EXACT)
    monkeypatch.setattr(module, "PIECE_S", 25.0)
    heard = listen(whisper, LONG, **EXACT)
    assert_in_order(heard)
    assert heard.result == whole.result
    assert abs(len(heard.segments) - len(whole.segments)) <= 3
    said = SPOKEN[LONG.name]["text"]
    assert wer(said, heard.text) < 0.25
    assert heard.progress[-1].done == pytest.approx(heard.result.duration)
    seeks = [segment.seek for segment in heard.segments]
    assert seeks == sorted(seeks) and seeks[-1] > 2500
    ends = [segment["end"] for segment in SPOKEN[LONG.name]["segments"] if segment["start"] > 40]
    found = [segment.end for segment in heard.segments]
    near = [min(abs(end - other) for other in found) < 0.3 for end in ends]
    assert sum(near) >= 0.8 * len(near), "times behind a cut are times of the whole file"


def test_the_language_is_that_of_the_first_speech(
    whisper: Whisper, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A piece of silence has no language, and must not fix it for the rest."""
    monkeypatch.setattr(module, "PIECE_S", 25.0)
    said = np.concatenate([silence(60), samples_of(DE)])
    heard = listen(whisper, write_wav(tmp_path / "x.wav", said))
    assert (heard.text, heard.result.language) == ("zwei sieben eins acht", "de")
    words = heard.segments[0].words
    assert words is not None
    assert words[1].start == pytest.approx(60.71, abs=0.2)


def test_signs_of_life_while_decoding(whisper: Whisper, tmp_path: Path) -> None:
    heard = listen(whisper, encode(tmp_path / "x.flac", silence(200)))
    assert len(heard.progress) >= 6
    assert {step.unit for step in heard.progress} == {"s"}
    assert [step.done for step in heard.progress[:-1]] == [0.0] * (len(heard.progress) - 1)
    assert heard.progress[-1].done == heard.progress[-1].total == 200


# --- small things ----------------------------------------------------------------------------------


def test_out_of_memory_in_inference(whisper: Whisper, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> object:
        raise RuntimeError("CUDA failed with error out of memory")

    monkeypatch.setattr(inside(whisper), "encode", fail)
    with pytest.raises(RuntimeError) as caught:
        listen(whisper, EN)
    assert whisper.kind_of(caught.value) is ErrorKind.OVERFLOW


def test_run_before_load() -> None:
    with pytest.raises(RuntimeError, match="before load"):
        listen(Whisper(), EN)


def test_the_listed_model(whisper: Whisper) -> None:
    (small,) = (model for model in whisper.models() if model.listed)
    assert (small.id, small.owned_by, small.capability) == ("whisper-small", "openai", "asr")
    assert small.supports_streaming and small.translate and small.word_timestamps
    assert len(small.languages) == 100 == len(set(small.languages))
    assert set(LANGUAGES) == set(inside(whisper).supported_languages)


def test_every_size_is_a_model() -> None:
    models = Whisper().models()
    assert models[0].id == "whisper-small"
    assert {model.source for model in models} == set(SIZES) and len(models) == len(SIZES)
    assert all(model.id == f"whisper-{model.source}" for model in models)
    stand_ins = {model.id for model in models if model.id in Whisper.auto.stand_ins}
    assert stand_ins == set(Whisper.auto.stand_ins)
    assert not any(model.endswith(".en") for model in stand_ins)


def test_the_rehearsal_works_on_a_real_model(whisper: Whisper, encoded: list[int]) -> None:
    warm_up(inside(whisper))
    assert len(encoded) == 1
