"""A56 to A74, A86, A87, A99 to A112 over HTTP: plain transcription by the real engines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.http.gateway.client import PATH, Answer, acts, form
from tests.http.gateway.service import Gates, Service, running
from tests.http.gateway.sounds import DE, DE_TEXT, EN, EN_TEXT, LONG, SOUNDS, Sound
from tests.support.listening import encode, film, noise, png, samples_of, silence, wer, write_wav

SAY = {"say": "one two", "end": 1}
SEGMENT = {
    "id": int,
    "seek": int,
    "start": float,
    "end": float,
    "text": str,
    "tokens": list,
    "temperature": float,
    "avg_logprob": float,
    "compression_ratio": float,
    "no_speech_prob": float,
}
"""OpenAI's ten members of a segment."""


class Case:
    """A real engine and something it understands; each question is asked once."""

    def __init__(self, service: Service, sound: Sound) -> None:
        self.service = service
        self.sound = sound
        self._told: dict[str, Answer] = {}

    def ask(self, response_format: str = "") -> Answer:
        if response_format not in self._told:
            fields = {"response_format": response_format} if response_format else {}
            self._told[response_format] = self.service.client.transcribe(self.sound.file, **fields)
        answer = self._told[response_format]
        assert answer.status == 200
        return answer

    @property
    def verbose(self) -> dict[str, Any]:
        told: dict[str, Any] = self.ask("verbose_json").json
        return told


@pytest.fixture(scope="module", params=list(SOUNDS))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    service, sound = SOUNDS[request.param]
    return Case(request.getfixturevalue(service), sound(tmp_path_factory.mktemp("sound")))


def spoken(text: str) -> str:
    return text.lower().strip()


def test_a56_a_file_alone_is_enough(case: Case) -> None:
    answer = case.ask()
    assert wer(case.sound.said, answer.json["text"]) <= 0.2


def test_a57_the_default_is_json_with_only_text(case: Case) -> None:
    answer = case.ask()
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json == {"text": case.verbose["text"]}


def test_a58_json_is_that_same_shape(case: Case) -> None:
    assert case.ask("json").json == {"text": case.verbose["text"]}


def test_a59_verbose_json(case: Case) -> None:
    told = case.verbose
    assert {"task", "language", "duration", "text", "segments", "words", "usage"} <= set(told)
    assert (told["task"], told["language"]) == ("transcribe", "en")
    assert told["segments"]
    assert told["words"]


def test_a60_segments(case: Case) -> None:
    segments = case.verbose["segments"]
    assert [segment["id"] for segment in segments] == list(range(len(segments)))
    end = 0.0
    for segment in segments:
        assert end <= segment["start"] <= segment["end"]
        assert segment["text"].strip()
        end = segment["end"]


def test_a61_words_in_time_order(case: Case) -> None:
    words = case.verbose["words"]
    assert [word["word"] for word in words] == case.verbose["text"].split()
    start = 0.0
    for word in words:
        assert start <= word["start"] <= word["end"] <= case.verbose["duration"]
        start = word["start"]


def test_a62_text_is_the_segments_with_blanks_in_english(case: Case) -> None:
    assert case.verbose["text"] == " ".join(each["text"].strip() for each in case.verbose["segments"])


@pytest.mark.parametrize("response_format", ["json", "verbose_json"])
def test_a62_chinese_has_no_blanks(response_format: str, fakes: Service) -> None:
    said = ({"say": "你好", "end": 1}, {"say": "世界", "start": 1, "end": 2})
    assert fakes.play(*said, response_format=response_format).json["text"] == "你好世界"


def test_a63_duration_is_the_length_of_the_audio(case: Case) -> None:
    assert case.verbose["duration"] == pytest.approx(case.sound.seconds, abs=0.05)
    assert case.verbose["usage"] == {"type": "duration", "seconds": int(np.ceil(case.sound.seconds))}


def test_a64_text_is_the_bare_transcript(case: Case) -> None:
    answer = case.ask("text")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == case.verbose["text"]


@pytest.mark.parametrize("response_format", ["srt", "vtt"])
def test_a65_subtitles_carry_the_same_transcript(response_format: str, case: Case) -> None:
    answer = case.ask(response_format)
    lines = [line for block in answer.text.strip().split("\n\n") for line in block.split("\n")]
    said = [line for line in lines if line and " --> " not in line and not line.isdigit()]
    assert " ".join(each for each in said if each != "WEBVTT") == case.verbose["text"]


@pytest.mark.parametrize("word", ["xml", "diarized_json", "JSON", "plain"])
def test_a65_any_other_format_is_400(word: str, whisper: Service) -> None:
    answer = whisper.client.transcribe(EN, response_format=word)
    assert (answer.status, answer.error["kind"]) == (400, "malformed")
    assert answer.error["param"] == "response_format"


# --- bad input ----------------------------------------------------------------------------------------


def refused(answer: Answer) -> None:
    assert (answer.status, answer.error["kind"]) == (400, "malformed")


def test_a66_a_missing_file(real: Service) -> None:
    answer = real.client.transcribe(None, model="auto")
    refused(answer)
    assert (answer.error["code"], answer.error["param"]) == ("missing_field", "file")


def test_a67_a_file_that_is_text(real: Service) -> None:
    answer = real.client.transcribe(None, file="I am a text")
    refused(answer)
    assert answer.error["param"] == "file"


def test_a68_an_empty_file(real: Service) -> None:
    refused(real.client.transcribe(b""))


@pytest.mark.parametrize("what", ["text", "random", "picture", "silent film", "cut off"])
def test_a69_what_is_no_audio(what: str, real: Service, tmp_path: Path) -> None:
    made: dict[str, Callable[[], Path | bytes]] = {
        "text": lambda: b"To be, or not to be: that is the question. " * 50,
        "random": lambda: np.random.default_rng(3).bytes(20_000),
        "picture": lambda: png(tmp_path / "x.png"),
        "silent film": lambda: film(tmp_path / "x.mp4"),
        "cut off": lambda: EN.read_bytes()[:20],
    }
    answer = real.client.transcribe(made[what]())
    refused(answer)
    assert (answer.error["code"], answer.error["param"]) == ("unsupported_audio", "file")
    assert answer.error["provider"] in ("Faster-Whisper", "PocketSphinx")


# --- kinds of files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mp4", "mkv", "webm"])
def test_a70_the_sound_of_a_video(kind: str, whisper: Service, tmp_path: Path) -> None:
    file = encode(tmp_path / f"film.{kind}", samples_of(EN), video=kind != "webm")
    answer = whisper.client.transcribe(file, name=file.name)
    assert (answer.status, spoken(answer.json["text"])) == (200, EN_TEXT)


@pytest.mark.parametrize("kind", ["mp3", "wav", "m4a", "flac", "ogg"])
@pytest.mark.parametrize("honest", [True, False], ids=["its name", "another name"])
def test_a71_kinds_of_audio(kind: str, honest: bool, whisper: Service, tmp_path: Path) -> None:
    file = encode(tmp_path / f"speech.{kind}", samples_of(EN))
    answer = whisper.client.transcribe(file, name=file.name if honest else "speech.bin")
    assert (answer.status, spoken(answer.json["text"])) == (200, EN_TEXT)


@pytest.mark.parametrize("what", ["silence", "noise", "1 sample"])
def test_a72_no_speech(what: str, real: Service, tmp_path: Path) -> None:
    samples = {"silence": silence(3), "noise": noise(0.1), "1 sample": noise(1)[:1]}[what]
    file = write_wav(tmp_path / "x.wav", samples)
    told = real.client.transcribe(file, response_format="verbose_json")
    assert told.status == 200
    assert (told.json["text"], told.json["segments"], told.json["words"]) == ("", [], [])
    assert real.client.transcribe(file).json == {"text": ""}
    assert real.client.transcribe(file, response_format="text").body == b""


def test_a73_above_the_limit_is_413(environment: Path, fakes: Service) -> None:
    declared = {"Content-Type": "multipart/form-data; boundary=x", "Content-Length": str(3 * 1024**3)}
    unread = fakes.client.begin("POST", PATH, None, declared).answer()
    with running(environment / "small", {}, server={"max_upload_bytes": 50_000}) as service:
        counted = service.client.transcribe(bytes(50_001))
        body = form(bytes(500_000), "x.wav", {})
        blocks = (body[at : at + 1000] for at in range(0, len(body), 1000))
        headers = {"Content-Type": "multipart/form-data; boundary=xBOUNDx"}
        chunked = service.client.ask("POST", PATH, blocks, headers)
    for answer in (unread, counted, chunked):
        assert (answer.status, answer.error["kind"]) == (413, "overflow")
        assert answer.error["code"] == "too_large"


@pytest.mark.parametrize("mb", [48, 143])
def test_a74_large_uploads(mb: int, fakes: Service) -> None:
    size = mb * 1_000_000
    assert fakes.client.transcribe(bytes(size)).json == {"text": f"heard {size} bytes"}


# --- languages and fields -----------------------------------------------------------------------------


@pytest.mark.parametrize("hint", [{}, {"language": ""}], ids=["absent", "empty"])
@pytest.mark.parametrize(("file", "said", "language"), [(EN, EN_TEXT, "en"), (DE, DE_TEXT, "de")])
def test_a86_the_language_is_detected(
    hint: dict[str, str], file: Path, said: str, language: str, whisper: Service
) -> None:
    told = whisper.client.transcribe(file, response_format="verbose_json", **hint).json
    assert (told["language"], spoken(told["text"])) == (language, said)


@pytest.mark.parametrize("hint", ["de", "fr", "xx", "klingon", "English", "auto", "zh-Hant-TW", "🙂"])
def test_a87_a_wrong_hint_does_not_fail(hint: str, whisper: Service) -> None:
    answer = whisper.client.transcribe(EN, language=hint, response_format="verbose_json")
    assert answer.status == 200
    assert isinstance(answer.json["language"], str)


def test_a99_false_is_false(whisper: Service) -> None:
    for word in ("false", "0"):
        assert spoken(whisper.client.transcribe(DE, translate=word).json["text"]) == DE_TEXT


@pytest.mark.parametrize("name", ["translate", "stream"])
@pytest.mark.parametrize("word", ["perhaps", "2", "truee", "null"])
def test_a100_what_is_no_boolean(name: str, word: str, whisper: Service) -> None:
    answer = whisper.client.transcribe(EN, **{name: word})
    refused(answer)
    assert answer.error["param"] == name


def test_a101_unknown_fields_are_ignored(whisper: Service) -> None:
    answer = whisper.client.transcribe(EN, colour="blue", known_speaker_names="x", model="auto")
    assert (answer.status, spoken(answer.json["text"])) == (200, EN_TEXT)


def test_a107_times_stay_in_order_over_the_seams(whisper: Service, tmp_path: Path) -> None:
    """Long audio goes through the engine in pieces of about five minutes: speech on both sides."""
    speech = samples_of(LONG)[: 20 * 16_000]
    samples = np.concatenate([speech, silence(250), speech, silence(10), speech])
    file = write_wav(tmp_path / "x.wav", samples)
    told = whisper.client.transcribe(file, response_format="verbose_json").json
    assert told["duration"] == pytest.approx(320, abs=0.05)
    for times in (told["segments"], told["words"]):
        starts = [each["start"] for each in times]
        assert starts == sorted(starts)
        assert all(each["start"] <= each["end"] <= told["duration"] for each in times)
        for after, before in ((0, 20), (270, 290), (300, 320)):
            assert [start for start in starts if after <= start < before]


def test_a111_all_ten_fields_everywhere(case: Case) -> None:
    for segment in case.verbose["segments"]:
        for name, kind in SEGMENT.items():
            value = segment[name]
            assert isinstance(value, (int, float) if kind is float else kind), name
            assert not isinstance(value, bool)


def test_a111_no_nan_reaches_json(case: Case) -> None:
    body = case.ask("verbose_json").text

    def refuse(word: str) -> None:
        raise AssertionError(word)

    json.loads(body, parse_constant=refuse)
    assert "null" not in body


@pytest.fixture
def spools(fakes: Service) -> Iterator[Service]:
    assert fakes.spooled == []
    yield fakes
    fakes.quiet()
    assert fakes.spooled == []


@pytest.mark.parametrize("way", ["success", "error", "bad field", "cancel", "crash"])
def test_a112_temporary_files_are_gone(way: str, spools: Service, gates: Gates) -> None:
    script: dict[str, list[dict[str, Any]]] = {
        "error": [{"gate": "a"}, {"fail": "malformed"}],
        "crash": [{"gate": "a"}, {"crash": "kill"}],
    }
    if way == "bad field":
        assert spools.client.transcribe(acts(SAY), stream="perhaps").status == 400
        return
    call = spools.begin(*script.get(way, [{"gate": "a"}, SAY]))
    let_pass = gates.entered()
    assert len(spools.spooled) == 1
    if way == "cancel":
        since = spools.mark
        call.reset()
        assert spools.ended(since) == "cancelled"
        return
    let_pass()
    assert call.answer().status == {"success": 200, "error": 400, "crash": 500}[way]
