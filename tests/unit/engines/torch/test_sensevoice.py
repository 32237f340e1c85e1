"""SenseVoice on FunASR with the tiny trained models: what it says, how it stops, how it fails."""

from __future__ import annotations

import logging
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aistack.chunks import ModelSpec, Notice, Segment, Transcript, TranscriptionRequest
from aistack.engines.audio.samples import padded
from aistack.engines.segments import spaced
from aistack.engines.sensevoice import SHORTEST, SenseVoice
from aistack.engines.sensevoice_files import MODEL, VAD
from aistack.errors import BackendFault, Code, ErrorKind, fault_from
from tests.support.listening import (
    AUDIO,
    SPOKEN,
    Flag,
    assert_in_order,
    listen,
    noise,
    samples_of,
    silence,
    wer,
    write_wav,
)
from tests.unit.engines.torch.conftest import LONG, SENSEVOICE, quiet_load
from tests.unit.engines.torch.conftest import VAD as VAD_DIR
from tests.unit.engines.torch.failing import MEMORY_ERRORS, When, fault_of_load, memory_error

DIGITS = AUDIO / "digits-en.wav"
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
FIGURES = {word: str(n) for n, word in enumerate(WORDS)}
HAN = dict(zip("零一二三四五六七八九", FIGURES.values(), strict=True))


def figures(name: str) -> str:
    """What is said in a recording, in digits: the model writes numbers so."""
    return " ".join(FIGURES[word] for word in SPOKEN[name]["text"].split())


def whole(engine: SenseVoice, path: Path, **fields: Any) -> tuple[str, list[Segment], Transcript]:
    """A run as the child process passes it on: joined text, segments with leads, result."""
    run = spaced(engine.run(TranscriptionRequest(str(path), **fields), Flag()))
    segments: list[Segment] = []
    while True:
        try:
            item = next(run)
        except StopIteration as stop:
            return stop.value.text, segments, stop.value
        assert not isinstance(item, Notice)
        if isinstance(item, Segment):
            segments.append(item)


@pytest.fixture(scope="session")
def direct() -> Any:
    """The library's own pipeline of voice activity and speech."""
    from funasr import AutoModel

    return AutoModel(
        model=str(SENSEVOICE),
        vad_model=str(VAD_DIR),
        vad_kwargs={"max_single_segment_time": 30_000, "max_end_silence_time": 400},
        device="cpu",
        ncpu=1,
        disable_update=True,
        disable_pbar=True,
    )


def directly(model: Any, path: Path) -> str:
    import re

    samples = samples_of(path).astype(np.float32) / 32768
    raw = model.generate(input=samples, cache={}, language="auto", use_itn=True)[0]["text"]
    return re.sub(r"<\|[^|]*\|>", " ", raw)


# --- what it says ------------------------------------------------------------------------------------


def test_the_model() -> None:
    (model,) = SenseVoice().models()
    assert (model.id, model.owned_by) == (MODEL, "alibaba")
    assert set(model.languages) == {"zh", "yue", "en", "ja", "ko"}
    assert model.supports_streaming
    assert not model.translate


@pytest.mark.parametrize("name", ["digits-en.wav", "digits-en-long.wav"])
def test_the_same_words_as_the_library_says_by_itself(
    sensevoice: SenseVoice, direct: Any, name: str
) -> None:
    theirs = directly(direct, AUDIO / name)
    text, _, _ = whole(sensevoice, AUDIO / name)
    assert text.split() == theirs.split()
    assert wer(figures(name), text) == wer(figures(name), theirs) <= 0.12


def test_a109_english_has_blanks_and_chinese_has_none(sensevoice: SenseVoice) -> None:
    english, segments, result = whole(sensevoice, LONG, language="en")
    assert len(segments) >= 20
    assert english.split()[:5] == ["9", "8", "6", "4..", "2"]
    assert result.language == "en"
    chinese, segments, result = whole(sensevoice, LONG, language="zh")
    assert " " not in chinese
    assert all(segment.lead == "" for segment in segments)
    assert result.language == "zh"
    heard = " ".join(HAN[char] for char in chinese if char in HAN)
    assert wer(figures(LONG.name), heard) <= 0.12


def test_the_detected_language_is_returned(sensevoice: SenseVoice) -> None:
    assert listen(sensevoice, DIGITS).result.language == "en"
    assert listen(sensevoice, DIGITS, language="fr").result.language == "en"


def test_a108_no_tag_in_the_text_and_the_tags_in_extra(sensevoice: SenseVoice) -> None:
    heard = listen(sensevoice, LONG)
    assert "<|" not in heard.text
    for segment in heard.segments:
        assert dict(segment.extra) == {"emotion": "neutral", "events": []}


def test_a110_words_with_times(sensevoice: SenseVoice) -> None:
    heard = listen(sensevoice, DIGITS)
    assert [word.word for word in heard.words] == ["3", "1", "4", "1", "5", "9."]
    starts = SPOKEN[DIGITS.name]["segments"][0]["word_starts"]
    assert [word.start for word in heard.words] == pytest.approx(starts, abs=0.25)
    assert_in_order(heard)
    long = listen(sensevoice, LONG)
    assert_in_order(long)
    for segment in long.segments:
        assert segment.text.split() == [word.word for word in segment.words or ()]


def test_figures_or_words(sensevoice: SenseVoice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensevoice, "_itn", False)
    assert wer(SPOKEN[DIGITS.name]["text"], listen(sensevoice, DIGITS, language="en").text) == 0


def test_a125_a_segment_is_out_before_the_next_is_decoded(
    sensevoice: SenseVoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = 0
    decode = sensevoice._decoded

    def counted(*args: Any) -> Any:
        nonlocal decoded
        decoded += 1
        return decode(*args)

    monkeypatch.setattr(sensevoice, "_decoded", counted)
    seen = [
        decoded
        for item in sensevoice.run(TranscriptionRequest(str(LONG)), Flag())
        if isinstance(item, Segment)
    ]
    assert seen[:5] == [1, 2, 3, 4, 5]


def test_a97_translate_is_malformed(sensevoice: SenseVoice) -> None:
    with pytest.raises(BackendFault) as caught:
        listen(sensevoice, DIGITS, translate=True)
    fault = caught.value.fault
    assert (fault.status, fault.code, fault.param) == (400, Code.INVALID_FIELD, "translate")
    assert fault.provider == "SenseVoice"


def test_a105_granularity_changes_nothing(sensevoice: SenseVoice) -> None:
    assert listen(sensevoice, LONG).segments == listen(sensevoice, LONG, granularity="subtitle").segments


def test_a_quarter_of_an_hour_is_one_timeline(sensevoice: SenseVoice, quarter_hour: Path) -> None:
    heard = listen(sensevoice, quarter_hour)
    assert_in_order(heard)
    once = listen(sensevoice, LONG)
    # pieces of two minutes end in a pause: the error rate is that of a minute, but for a word or two
    truth = " ".join([figures(LONG.name)] * 15)
    assert wer(truth, heard.text) <= wer(figures(LONG.name), once.text) + 0.01


def test_a_text_that_cannot_be_aligned_has_no_words_but_is_said(
    sensevoice: SenseVoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    from funasr.models.sense_voice import model as module

    expected = listen(sensevoice, DIGITS).text

    def broken(*_args: object, **_options: object) -> None:
        raise IndexError("list index out of range")

    monkeypatch.setattr(module, "ctc_forced_align", broken)
    heard = listen(sensevoice, DIGITS)
    assert heard.text == expected
    assert heard.words == []


def test_a_silence_that_is_too_certain_for_the_library(
    sensevoice: SenseVoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FSMN-VAD takes the logarithm of 1 - P(silence), which digital silence can make 0."""
    expected = listen(sensevoice, DIGITS).text
    voiced = sensevoice._voiced
    refused: list[np.ndarray] = []

    def certain(samples: np.ndarray) -> Any:
        if not refused:
            refused.append(samples)
            raise ValueError("math domain error")
        return voiced(samples)

    monkeypatch.setattr(sensevoice, "_voiced", certain)
    assert listen(sensevoice, DIGITS).text == expected
    assert refused


# --- little or nothing to hear -----------------------------------------------------------------------


@pytest.mark.parametrize("loud", [0.0, 30.0])
def test_a72_silence_and_noise_are_no_words(sensevoice: SenseVoice, tmp_path: Path, loud: float) -> None:
    path = write_wav(tmp_path / "quiet.wav", noise(3, loud) if loud else silence(3))
    heard = listen(sensevoice, path, language="ja")
    assert heard.segments == []
    assert heard.result == Transcript("ja", 3.0)


@pytest.mark.parametrize("size", [1, 2, 100, 399, 400, 1600, 4_000])
def test_no_length_is_too_short(sensevoice: SenseVoice, tmp_path: Path, size: int) -> None:
    heard = listen(
        sensevoice, write_wav(tmp_path / "short.wav", samples_of(DIGITS)[8_000 : 8_000 + size])
    )
    assert heard.result.duration == pytest.approx(size / 16_000)
    assert_in_order(heard)


@pytest.mark.parametrize("size", [0, 1, 2, 100, 399])
def test_no_chunk_is_too_short(sensevoice: SenseVoice, size: int) -> None:
    assert "text" in sensevoice._decoded(padded(np.zeros(size, np.float32), SHORTEST), None)


def test_no_samples_at_all_are_malformed(sensevoice: SenseVoice, tmp_path: Path) -> None:
    with pytest.raises(BackendFault) as caught:
        listen(sensevoice, write_wav(tmp_path / "empty.wav", silence(0)))
    assert caught.value.fault.code is Code.UNSUPPORTED_AUDIO


# --- stopping ----------------------------------------------------------------------------------------


def test_a135_cancel_between_chunks(sensevoice: SenseVoice) -> None:
    token = Flag()
    run = sensevoice.run(TranscriptionRequest(str(LONG)), token)
    first = next(item for item in run if isinstance(item, Segment))
    token.on = True
    assert list(run) == []
    assert first.start < 1


@pytest.mark.parametrize("looks", [1, 500, 2_000, 5_000])
def test_a135_cancel_within_a_second(sensevoice: SenseVoice, quarter_hour: Path, looks: int) -> None:
    """While decoding the file, and somewhere inside the models."""
    token = When(lambda token: token.looks >= looks)
    listen(sensevoice, quarter_hour, token)
    assert token.on, "the run was over before the token was set"
    assert time.monotonic() - token.at < 1.0
    assert listen(sensevoice, DIGITS).words


def test_a135_cancel_inside_a_forward_pass(sensevoice: SenseVoice) -> None:
    inside = sensevoice._model.encoder.encoders[0]
    token = When(lambda _token: entered[0])
    entered = [False]
    handle = inside.register_forward_hook(lambda *_: entered.__setitem__(0, True))
    try:
        heard = listen(sensevoice, LONG, token)
    finally:
        handle.remove()
    assert token.on
    assert heard.segments == [], "it went on after its first block"


# --- failing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MEMORY_ERRORS)
@pytest.mark.parametrize("part", ["_model", "_vad"])
def test_a114_out_of_memory_in_a_run(
    sensevoice: SenseVoice, monkeypatch: pytest.MonkeyPatch, kind: str, part: str
) -> None:
    error = memory_error(kind)

    def broken(*_args: object, **_options: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(getattr(sensevoice, part), "inference", broken)
        with pytest.raises(type(error)) as caught:
            listen(sensevoice, DIGITS)
    kind_of = sensevoice.kind_of(caught.value)
    assert kind_of is ErrorKind.OVERFLOW
    assert fault_from(caught.value, sensevoice.provider, kind_of).code is Code.OUT_OF_MEMORY
    assert listen(sensevoice, DIGITS).segments


@pytest.mark.parametrize("kind", MEMORY_ERRORS)
def test_a114_out_of_memory_in_a_load(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    from funasr import AutoModel

    error = memory_error(kind)

    def broken(*_args: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(AutoModel, "build_model", staticmethod(broken))
    found = fault_of_load(SenseVoice(), SENSEVOICE, vad=str(VAD_DIR))
    assert found[:2] == (413, Code.OUT_OF_MEMORY)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SENSEVOICE, tmp_path / "model", copy_function=shutil.copyfile))


@pytest.mark.parametrize("name", ["model.pt", "config.yaml", "am.mvn"])
def test_a_file_that_is_missing_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    status, code, message = fault_of_load(SenseVoice(), copy, vad=str(VAD_DIR))
    assert (status, code) == (503, Code.MODEL_LOAD_FAILED)
    assert name in message


@pytest.mark.parametrize("name", ["model.pt", "config.yaml", "bpe.model", "am.mvn"])
@pytest.mark.parametrize("how", ["half", "empty", "text"])
def test_broken_files_are_a_503_that_says_so(copy: Path, name: str, how: str) -> None:
    data = (copy / name).read_bytes()
    (copy / name).write_bytes({"half": data[: len(data) // 2], "empty": b"", "text": b"hello\n"}[how])
    status, code, message = fault_of_load(SenseVoice(), copy, vad=str(VAD_DIR))
    assert (status, code) == (503, Code.MODEL_LOAD_FAILED)
    assert "damaged" in message


def test_weights_of_another_model_are_not_left_random(copy: Path) -> None:
    """FunASR by itself loads this without a word, and answers nonsense."""
    shutil.copyfile(VAD_DIR / "model.pt", copy / "model.pt")
    assert "damaged" in fault_of_load(SenseVoice(), copy, vad=str(VAD_DIR))[2]


@pytest.mark.parametrize("source", ["/nowhere/model", "nonsense", "./a/b"])
def test_a_missing_directory_is_not_taken_for_a_hub_id(source: str) -> None:
    assert "neither" in fault_of_load(SenseVoice(), source, vad=str(VAD_DIR))[2]
    assert "neither" in fault_of_load(SenseVoice(), SENSEVOICE, vad=source)[2]


@pytest.mark.parametrize("options", [{"vad_silence_ms": "long"}, {"hub": "elsewhere"}])
def test_options_that_make_no_sense_are_told(options: dict[str, Any]) -> None:
    assert "options" in fault_of_load(SenseVoice(), SENSEVOICE, vad=str(VAD_DIR), **options)[2]


@pytest.mark.parametrize(
    "error", [ImportError("libcudart"), AttributeError("no such name"), OSError("so")]
)
def test_a_broken_library_is_not_taken_for_broken_files(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(_engine: SenseVoice) -> None:
        raise error

    monkeypatch.setattr(SenseVoice, "warm", broken)
    assert "library" in fault_of_load(SenseVoice(), SENSEVOICE, vad=str(VAD_DIR))[2]


def test_a84_a_library_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_engine: SenseVoice) -> None:
        raise ModuleNotFoundError("No module named 'funasr'")

    monkeypatch.setattr(SenseVoice, "warm", missing)
    status, code, message = fault_of_load(SenseVoice(), SENSEVOICE, vad=str(VAD_DIR))
    assert (status, code) == (503, Code.BACKEND_MISSING)
    assert f"{shlex.quote(sys.executable)} -m pip install 'torch<" in message


# --- the hubs ----------------------------------------------------------------------------------------


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Empty caches of both hubs; downloads are off."""
    environ = {
        "HF_HOME": str(tmp_path / "hf"),
        "MODELSCOPE_CACHE": str(tmp_path / "ms"),
        "HF_HUB_OFFLINE": "1",
        "HOME": str(tmp_path),
    }
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return environ


@pytest.mark.parametrize(
    ("speech", "voice"),
    [
        (f"ms/models/{MODEL}", f"ms/models/{VAD}"),
        (f"ms/hub/{MODEL}", f"ms/hub/models/{VAD}"),
        (
            "hf/hub/models--FunAudioLLM--SenseVoiceSmall/snapshots/1",
            "hf/hub/models--funasr--fsmn-vad/snapshots/2",
        ),
    ],
)
def test_weights_in_a_cache_need_no_network(
    caches: dict[str, str], tmp_path: Path, speech: str, voice: str
) -> None:
    spec = ModelSpec(MODEL, MODEL)
    assert not SenseVoice().weights(spec, caches)
    shutil.copytree(SENSEVOICE, tmp_path / speech, copy_function=shutil.copyfile)
    assert not SenseVoice().weights(spec, caches)
    shutil.copytree(VAD_DIR, tmp_path / voice, copy_function=shutil.copyfile)
    engine = SenseVoice()
    assert engine.weights(spec, caches)
    quiet_load(engine, MODEL)
    assert listen(engine, DIGITS).segments


def test_a85_downloads_that_are_off_are_told(caches: dict[str, str]) -> None:
    status, code, message = fault_of_load(SenseVoice(), MODEL)
    assert (status, code) == (503, Code.MODEL_LOAD_FAILED)
    assert "HF_HUB_OFFLINE" in message


@pytest.mark.parametrize(("where", "name"), [("ms", "ModelScope"), ("hf", "Hugging Face")])
def test_a85_a_hub_that_cannot_be_reached_is_told(
    caches: dict[str, str], monkeypatch: pytest.MonkeyPatch, where: str, name: str
) -> None:
    from huggingface_hub import constants

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("MODELSCOPE_DOMAIN", "127.0.0.1:9")
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "http://127.0.0.1:9")
    status, code, message = fault_of_load(SenseVoice(), MODEL, hub=where)
    assert (status, code) == (503, Code.MODEL_LOAD_FAILED)
    assert name in message
    assert "could not be" in message


def test_the_root_logger_is_left_alone(sensevoice: SenseVoice) -> None:
    before = logging.getLogger().level, list(logging.getLogger().handlers)
    engine = SenseVoice()
    quiet_load(engine, SENSEVOICE, vad=str(VAD_DIR))
    assert (logging.getLogger().level, list(logging.getLogger().handlers)) == before
