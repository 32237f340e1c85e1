"""A102 to A110 over HTTP: what the real engines say, and that it is what their libraries say."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from tests.http.engines.asking import Ask, asker
from tests.http.engines.direct import Direct
from tests.http.engines.sounds import DE, EN, EN_TEXT, HAN, LONG, LONG_TEXT, repeated, spoken, unbroken
from tests.http.gateway.service import Service
from tests.support.listening import noise, plain, samples_of, silence, wer, write_wav


@pytest.fixture(scope="module")
def sense(services: dict[str, Service]) -> Ask:
    return asker(services["sensevoice"], "sensevoice")


@pytest.fixture(scope="module")
def para(services: dict[str, Service]) -> Ask:
    return asker(services["parakeet"], "parakeet")


# --- the same words as the library by itself ---------------------------------------------------------


@pytest.mark.parametrize("file", [EN, LONG, DE], ids=lambda file: file.stem)
def test_parakeet_says_what_nemo_says(file: Path, para: Ask, libraries: dict[str, Direct]) -> None:
    theirs = libraries["parakeet"].hear(file)
    ours = para(file)["text"]
    assert ours == theirs
    if file is not DE:  # the tiny model knows no German
        truth = {EN: EN_TEXT, LONG: LONG_TEXT}[file]
        assert wer(truth, ours) == wer(truth, theirs) <= 0.05


@pytest.mark.parametrize("file", [EN, LONG], ids=lambda file: file.stem)
def test_sensevoice_says_what_funasr_says(file: Path, sense: Ask, libraries: dict[str, Direct]) -> None:
    """Word for word; the blanks between stretches of speech are ours (FunASR leaves the tags there)."""
    theirs = libraries["sensevoice"].hear(file)
    ours = sense(file)["text"]
    assert ours.split() == theirs.split()
    truth = {EN: EN_TEXT, LONG: LONG_TEXT}[file]
    assert wer(truth, spoken(ours)) == wer(truth, spoken(theirs)) <= 0.15


# --- Parakeet ----------------------------------------------------------------------------------------


def test_a102_sentence_is_the_default(para: Ask) -> None:
    assert para(LONG) == para(LONG, segment_granularity="sentence")


@pytest.mark.parametrize("word", ["words", "Sentence", "cue"])
def test_a102_any_other_granularity_is_malformed(word: str, parakeet: Service) -> None:
    answer = parakeet.client.transcribe(EN, model="parakeet", segment_granularity=word)
    assert (answer.status, answer.error["kind"]) == (400, "malformed")
    assert answer.error["param"] == "segment_granularity"


@pytest.fixture(scope="module")
def breathless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unbroken(tmp_path_factory.mktemp("sound") / "breathless.wav")


def test_a103_subtitles_fit_a_line_and_an_eye(para: Ask, breathless: Path, parakeet: Service) -> None:
    for file in (LONG, breathless):
        told = para(file, segment_granularity="subtitle")
        assert told["segments"]
        for cue in told["segments"]:
            assert len(cue["text"]) <= 70
            assert cue["end"] - cue["start"] <= 7.001
        assert plain(told["text"]) == plain(para(file)["text"])
    answer = parakeet.client.transcribe(
        breathless, model="parakeet", segment_granularity="subtitle", response_format="srt"
    )
    lines = [block.split("\n")[2:] for block in answer.text.strip().split("\n\n")]
    assert all(len(" ".join(each)) <= 70 for each in lines)
    assert len(lines) == len(para(breathless, segment_granularity="subtitle")["segments"])


def test_a104_sentences_end_at_a_stop_or_a_silence(para: Ask, breathless: Path) -> None:
    for file in (LONG, breathless):
        segments = para(file)["segments"]
        words = iter(para(file)["words"])
        inside = [list(itertools.islice(words, len(each["text"].split()))) for each in segments]
        for segment, said in zip(segments, inside, strict=True):
            assert segment["end"] - segment["start"] <= 30
            for word, after in itertools.pairwise(said):
                assert not word["word"].endswith((".", "!", "?"))
                assert after["start"] - word["end"] <= 0.7 + 0.001
        for said, following in itertools.pairwise(inside):
            stopped = said[-1]["word"].endswith((".", "!", "?"))
            silent = following[0]["start"] - said[-1]["end"] > 0.7 - 0.001
            long = following[0]["end"] - said[0]["start"] > 30 - 0.001
            assert stopped or silent or long


@pytest.fixture(scope="module")
def six_minutes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repeated(tmp_path_factory.mktemp("sound") / "six-minutes.wav", 6)


def test_a106_a107_long_audio_is_one_timeline(para: Ask, six_minutes: Path) -> None:
    """More than five minutes (local attention), in seven windows of 70 s here; the windows of twelve
    minutes are in tests/unit/engines/torch."""
    told = para(six_minutes)
    assert told["duration"] == pytest.approx(379.6, abs=0.1)
    truth = " ".join([LONG_TEXT] * 6)
    assert wer(truth, told["text"]) <= wer(LONG_TEXT, para(LONG)["text"]) + 0.02
    assert len(plain(told["text"])) == pytest.approx(len(plain(truth)), rel=0.02)
    for times in (told["segments"], told["words"]):
        starts = [each["start"] for each in times]
        assert starts == sorted(starts)
        assert all(each["start"] <= each["end"] <= told["duration"] for each in times)
    for before, after in itertools.pairwise(told["segments"]):
        assert before["end"] <= after["start"]
    for minute in range(6):
        assert [word for word in told["words"] if minute * 60 <= word["start"] < minute * 60 + 60]


# --- SenseVoice --------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["", "en", "zh", "ja", "ko", "yue"])
def test_a108_no_tag_is_left(language: str, sense: Ask) -> None:
    told = sense(LONG, language=language)
    assert "<|" not in json.dumps(told, ensure_ascii=False)
    assert "|>" not in json.dumps(told, ensure_ascii=False)


def test_the_tags_are_fields_of_their_segment(sense: Ask) -> None:
    for segment in sense(LONG)["segments"]:
        assert segment["emotion"] == "neutral"
        assert "events" not in segment, "there were none"


def test_a109_english_has_blanks_and_chinese_has_none(sense: Ask) -> None:
    english, chinese = sense(LONG, language="en"), sense(LONG, language="zh")
    assert (english["language"], chinese["language"]) == ("en", "zh")
    assert len(english["text"].split()) >= 60
    assert wer(LONG_TEXT, spoken(english["text"])) <= 0.15
    assert not any(char.isspace() for char in chinese["text"])
    heard = " ".join(HAN[char] for char in chinese["text"] if char in HAN)
    assert wer(LONG_TEXT, heard) <= 0.15


def test_a110_words_with_times(sense: Ask) -> None:
    told = sense(LONG)
    assert [word["word"] for word in told["words"]] == told["text"].split()
    starts = [word["start"] for word in told["words"]]
    assert starts == sorted(starts)
    assert all(word["start"] <= word["end"] <= told["duration"] for word in told["words"])
    assert len(set(starts)) > 60, "times, not one time"


def test_a105_granularity_changes_nothing_on_sensevoice(sense: Ask) -> None:
    assert sense(LONG) == sense(LONG, segment_granularity="subtitle")


# --- nothing to hear ---------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["silence", "noise", "1", "399", "1600"])
@pytest.mark.parametrize("engine", ["parakeet", "sensevoice"])
def test_a72_nothing_and_next_to_nothing(
    what: str, engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    service: Service = request.getfixturevalue(engine)
    samples = {"silence": silence(3), "noise": noise(3, 30.0)}.get(what)
    if samples is None:
        samples = silence(1)[: int(what)]
    file = write_wav(tmp_path / "x.wav", samples)
    told = service.client.transcribe(file, model=engine, response_format="verbose_json")
    assert told.status == 200
    assert (told.json["text"], told.json["segments"], told.json["words"]) == ("", [], [])
    assert told.json["duration"] == pytest.approx(samples.size / 16_000, abs=0.001)


def test_a68_no_sample_at_all_is_malformed(
    parakeet: Service, sensevoice: Service, tmp_path: Path
) -> None:
    file = write_wav(tmp_path / "x.wav", silence(0))
    for service, model in ((parakeet, "parakeet"), (sensevoice, "sensevoice")):
        answer = service.client.transcribe(file, model=model)
        assert (answer.status, answer.error["code"]) == (400, "unsupported_audio")


def test_a60_every_length_of_a_word_goes_through(sensevoice: Service, parakeet: Service) -> None:
    """Cut anywhere, down to one sample: never a failure."""
    speech = samples_of(EN)[8_000:]
    for service, model in ((parakeet, "parakeet"), (sensevoice, "sensevoice")):
        for size in (1, 2, 100, 400, 4_000, 16_000):
            file = write_wav(service.spool.parent / "cut.wav", speech[:size])
            assert service.client.transcribe(file, model=model).status == 200
