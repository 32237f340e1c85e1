"""Parakeet on NeMo with the tiny trained model: what it says, and how it stops."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aistack.chunks import Notice, Segment, TranscriptionRequest
from aistack.engines.parakeet import LANGUAGES, MODEL, Parakeet
from aistack.engines.segments import as_one, spaced
from aistack.errors import BackendFault, Code
from tests.support.listening import (
    AUDIO,
    SPOKEN,
    Flag,
    Heard,
    assert_in_order,
    listen,
    noise,
    plain,
    samples_of,
    silence,
    wer,
    write_wav,
)
from tests.unit.engines.torch.conftest import LONG, NEMO, quiet_load
from tests.unit.engines.torch.failing import When

DIGITS = AUDIO / "digits-en.wav"


@pytest.fixture
def cut(parakeet: Parakeet) -> Iterator[Parakeet]:
    """The engine with windows of 20 s, so that a minute has seams; local attention above 10 s."""
    before = parakeet._cut, parakeet._local_above
    parakeet._configure({"window_s": 20, "overlap_s": 6, "least_s": 8, "local_attention_above_s": 10})
    yield parakeet
    parakeet._cut, parakeet._local_above = before


@pytest.fixture(scope="session")
def direct() -> Any:
    """The library by itself, with the model as it comes out of the file."""
    from nemo.collections.asr.models import ASRModel

    return ASRModel.restore_from(str(NEMO), map_location="cpu").eval()


def directly(model: Any, path: Path) -> str:
    samples = samples_of(path).astype(np.float32) / 32768
    return str(model.transcribe([samples], timestamps=True, verbose=False)[0].text)


# --- what it says ------------------------------------------------------------------------------------


def test_the_model() -> None:
    (model,) = Parakeet().models()
    assert (model.id, model.owned_by) == (MODEL, "nvidia")
    assert len(model.languages) == len(set(LANGUAGES)) == 25
    assert not model.supports_streaming
    assert not model.translate
    assert model.word_timestamps


def test_short_audio_with_words(parakeet: Parakeet) -> None:
    heard = listen(parakeet, DIGITS, language="en")
    assert plain(heard.text) == plain(SPOKEN["digits-en.wav"]["text"])
    assert heard.result.language == "en"
    assert heard.result.duration == pytest.approx(2.76, abs=0.01)
    assert_in_order(heard)
    starts = SPOKEN["digits-en.wav"]["segments"][0]["word_starts"]
    assert [word.start for word in heard.words] == pytest.approx(starts, abs=0.25)


def test_the_language_is_the_hint_or_und(parakeet: Parakeet) -> None:
    assert listen(parakeet, DIGITS).result.language == "und"
    assert listen(parakeet, DIGITS, language="de").result.language == "de"


@pytest.mark.parametrize("name", ["digits-en.wav", "digits-en-long.wav"])
def test_the_same_words_as_the_library_says_by_itself(
    parakeet: Parakeet, direct: Any, name: str
) -> None:
    theirs = directly(direct, AUDIO / name)
    ours = listen(parakeet, AUDIO / name).text
    truth = SPOKEN[name]["text"]
    assert ours == theirs
    assert wer(truth, ours) == wer(truth, theirs) <= 0.02


def test_a106_seams_of_a_minute_in_four_windows(cut: Parakeet, direct: Any) -> None:
    heard = listen(cut, LONG)
    assert heard.progress[-1].done == pytest.approx(63.26, abs=0.01)
    assert len({step.done for step in heard.progress}) >= 4
    truth = SPOKEN[LONG.name]["text"]
    assert wer(truth, heard.text) <= wer(truth, directly(direct, LONG)) + 0.015
    assert_in_order(heard)


def test_a106_a107_a_quarter_of_an_hour_is_one_timeline(parakeet: Parakeet, quarter_hour: Path) -> None:
    heard = listen(parakeet, quarter_hour)
    truth = " ".join([SPOKEN[LONG.name]["text"]] * 15)
    assert wer(truth, heard.text) <= 0.02
    assert_in_order(heard)
    assert parakeet._local is True, "local attention above five minutes"
    assert len(plain(heard.text)) == pytest.approx(len(plain(truth)), rel=0.01)
    starts = [word.start for word in heard.words]
    assert all(before <= after for before, after in itertools.pairwise(starts))
    # The seam is at 660 s, in the middle of the eleventh repetition. There the words are what the
    # neighbours' middles are, none doubled and none lost. (Elsewhere one word of the tiny model sits on
    # the fence.)
    length = heard.result.duration / 15
    once = plain(SPOKEN[LONG.name]["text"])
    for n in (9, 10, 11):
        around = plain(between(heard, n * length, (n + 1) * length))
        assert len(around) == len(once)
        assert around[15:60] == once[15:60]


def between(heard: Heard, start: float, end: float) -> str:
    return " ".join(word.word for word in heard.words if start <= word.start < end)


def test_full_attention_for_short_audio_after_long(cut: Parakeet) -> None:
    listen(cut, LONG)
    assert cut._model.encoder.self_attention_model == "rel_pos_local_attn"
    assert plain(listen(cut, DIGITS).text) == plain(SPOKEN["digits-en.wav"]["text"])
    assert cut._model.encoder.self_attention_model == "rel_pos"


def test_changing_the_attention_changes_no_weights(direct: Any) -> None:
    """NeMo by itself leaves random biases behind: another transcript in every process."""
    import torch

    engine = Parakeet()
    quiet_load(engine, NEMO)
    sound = torch.from_numpy(samples_of(LONG)[:160_000].astype(np.float32) / 32768)[None]

    def encoded(model: Any) -> torch.Tensor:
        model.eval()
        with torch.no_grad():
            size = torch.tensor([sound.shape[1]])
            features, frames = model.preprocessor(input_signal=sound, length=size)
            found: torch.Tensor = model.encoder(audio_signal=features, length=frames)[0]
        return found

    engine._model.preprocessor.featurizer.dither = direct.preprocessor.featurizer.dither = 0.0
    expected = encoded(direct)
    assert torch.equal(encoded(engine._model), expected)
    engine._attend(local=True)
    # 10 s lie within the context of 20 s to each side: local attention sees what full attention sees
    assert torch.allclose(encoded(engine._model), expected, atol=1e-4)
    engine._attend(local=False)
    assert torch.allclose(encoded(engine._model), expected, atol=1e-6)


def test_a102_a104_sentences_by_default(parakeet: Parakeet) -> None:
    heard = listen(parakeet, LONG)
    assert len(heard.segments) >= 20
    for segment in heard.segments:
        assert segment.end - segment.start <= 30
        words = segment.words or ()
        assert all(not word.word.endswith(".") for word in words[:-1])


def test_a102_a103_subtitles(parakeet: Parakeet) -> None:
    heard = listen(parakeet, LONG, granularity="subtitle")
    for segment in heard.segments:
        assert len(segment.text) <= 70
        assert segment.end - segment.start <= 7
    assert plain(heard.text) == plain(listen(parakeet, LONG).text)


def test_a102_another_granularity_is_malformed(parakeet: Parakeet) -> None:
    with pytest.raises(BackendFault) as caught:
        listen(parakeet, DIGITS, granularity="words")
    assert caught.value.fault.status == 400
    assert caught.value.fault.param == "segment_granularity"


def test_a96_translate_is_malformed(parakeet: Parakeet) -> None:
    with pytest.raises(BackendFault) as caught:
        listen(parakeet, DIGITS, translate=True)
    fault = caught.value.fault
    assert (fault.status, fault.code, fault.param) == (400, Code.INVALID_FIELD, "translate")
    assert fault.provider == "Parakeet"


def test_a126_a127_a128_a129_a_stream_is_a_warning_and_one_delta(parakeet: Parakeet) -> None:
    whole = listen(parakeet, LONG)
    request = TranscriptionRequest(str(LONG), downgrade=MODEL)
    items = list(spaced(as_one(parakeet.run(request, Flag()), request.downgrade)))
    first, *_, last = items
    assert isinstance(first, Notice)
    assert (first.code, first.model) == ("streaming_not_supported", MODEL)
    assert isinstance(last, Segment)
    assert sum(isinstance(item, Segment) for item in items) == 1
    assert last.text == whole.text
    assert (last.start, last.end) == (0.0, whole.result.duration)
    assert list(last.words or ()) == whole.words


# --- little or nothing to hear -----------------------------------------------------------------------


@pytest.mark.parametrize("loud", [0.0, 30.0])
def test_a72_silence_and_noise_are_no_words(parakeet: Parakeet, tmp_path: Path, loud: float) -> None:
    path = write_wav(tmp_path / "quiet.wav", noise(3, loud) if loud else silence(3))
    heard = listen(parakeet, path)
    assert heard.segments == []
    assert heard.result.duration == pytest.approx(3)


@pytest.mark.parametrize("size", [1, 2, 100, 399, 1600, 15_999, 16_001])
def test_no_length_is_too_short(parakeet: Parakeet, tmp_path: Path, size: int) -> None:
    heard = listen(parakeet, write_wav(tmp_path / "short.wav", samples_of(DIGITS)[5_000 : 5_000 + size]))
    assert heard.result.duration == pytest.approx(size / 16_000)
    assert_in_order(heard)


def test_no_samples_at_all_are_malformed(parakeet: Parakeet, tmp_path: Path) -> None:
    with pytest.raises(BackendFault) as caught:
        listen(parakeet, write_wav(tmp_path / "empty.wav", silence(0)))
    assert caught.value.fault.code is Code.UNSUPPORTED_AUDIO


def test_short_clips_are_padded_on_the_right_only(
    parakeet: Parakeet, direct: Any, tmp_path: Path
) -> None:
    """NeMo by itself pads on both sides, and shifts every time by 0.2 s here."""
    samples = samples_of(DIGITS)[4_000:13_600]  # 0.25 s to 0.85 s
    heard = listen(parakeet, write_wav(tmp_path / "short.wav", samples))
    alone = direct.transcribe([samples.astype(np.float32) / 32768], timestamps=True, verbose=False)
    shifted = [word["start"] for word in alone[0].timestamp["word"]]
    assert len(shifted) == len(heard.words) > 0
    assert [word.start + 0.2 for word in heard.words] == pytest.approx(shifted, abs=0.09)
    assert heard.words[-1].end <= 0.6


# --- stopping ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["decoding", "features", "encoder", "decoder"])
def test_a136_cancel_inside_a_window_within_two_seconds(
    parakeet: Parakeet, quarter_hour: Path, stage: str
) -> None:
    """While the file is decoded, before and in the encoder, and in the decoder's loop."""
    beats, layers = parakeet._beats, parakeet._layers - 1
    parakeet._layer = 0

    def reached(token: When) -> bool:
        return {
            "decoding": token.looks > 500,
            "features": parakeet._beats > beats + 1,
            "encoder": parakeet._layer == 2,
            "decoder": parakeet._layer == layers and parakeet._beats > beats + 300,
        }[stage]

    token = When(reached)
    heard = listen(parakeet, quarter_hour, token)
    assert token.on, "the run was over before the token was set"
    assert time.monotonic() - token.at < 2.0
    assert heard.segments == []
    assert plain(listen(parakeet, DIGITS).text) == plain(SPOKEN["digits-en.wav"]["text"])


def test_a136_cancel_between_windows(cut: Parakeet) -> None:
    token = Flag()
    run = cut.run(TranscriptionRequest(str(LONG)), token)
    done = 0.0
    while done < 20:
        done = next(run).done  # type: ignore[union-attr]
    token.on = True
    assert list(run) == []
    assert done < 40


def test_a_run_that_is_closed_leaves_no_work_behind(parakeet: Parakeet, quarter_hour: Path) -> None:
    run = parakeet.run(TranscriptionRequest(str(quarter_hour)), Flag())
    for item in run:
        if parakeet._layer:
            assert item.done < 720  # type: ignore[union-attr]
            break
    run.close()
    assert parakeet._pool._work_queue.empty()
    assert plain(listen(parakeet, DIGITS).text) == plain(SPOKEN["digits-en.wav"]["text"])
