"""(a) transcription over HTTP against the direct call, (b) sequential against batched,
(c) the first delta against the library's first segment."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from pathlib import Path

from contrib.dev.bench.harness import (
    AUDIO,
    HEADERS,
    SPEECH,
    Direct,
    Row,
    Server,
    median,
    multipart,
    repeated,
    serving,
    times,
    wer,
)

LONG_S = 600.0


def pairs(
    engine: str, model: str, source: Path, count: int, seconds: float, pieces: bool = False
) -> Row:
    """Interleaved pairs of one long file over HTTP and by the library.

    The gateway's Whisper hears a long file in stretches of five minutes, so that memory does not
    grow with it. `pieces`: the library is given the same stretches, so both do the same work and
    the difference is the gateway's; otherwise it is given the file, and may hear other words.
    """
    audio = repeated(source, seconds)
    truth = " ".join([spoken(source)] * times(source, seconds))
    with tempfile.NamedTemporaryFile(suffix=".wav") as file, serving() as server:
        file.write(audio)
        file.flush()
        direct = Direct(engine)
        server.transcribe(SPEECH.read_bytes(), model=model)
        direct.ask({"path": str(SPEECH)})
        ours, theirs = [], []
        for number in range(count):
            turns = ["ours", "theirs"] if number % 2 else ["theirs", "ours"]
            for turn in turns:
                if turn == "ours":
                    status, body, took = server.transcribe(audio, model=model, temperature="0")
                    assert status == 200, body
                    ours.append(took)
                    text = json.loads(body)["text"]
                else:
                    answer = direct.ask({"path": file.name, "pieces": pieces})
                    theirs.append(answer["seconds"])
        direct.close()
    # Temperature 0: the library's default falls back to drawing at random, and no two runs would do
    # the same work. Whisper hears long files in pieces here and in one stretch there, so the two may
    # still differ; the error rates say which of them heard better.
    heard = f"WER {wer(truth, text):.3f}", f"WER {wer(truth, answer['text']):.3f}"
    one, two = median(ours), median(theirs)
    ratio = median([a / b for a, b in zip(ours, theirs, strict=True)])
    extra = median([a - b for a, b in zip(ours, theirs, strict=True)])
    return Row(
        f"(a) {model}, {len(audio) / 32000:.0f} s of audio, {count} pairs{', same stretches' * pieces}",
        f"{one:.3f} s, {heard[0]}",
        f"{two:.3f} s direct, {heard[1]}",
        ratio,
        "<= max(1.03, +25 ms)",
        ratio <= 1.03 or extra <= 0.025,
    )


def spoken(source: Path) -> str:
    """What is said in one of our files."""
    if source == SPEECH:
        return "hello there the weather is nice today the boys went to the river with their father"
    text: str = json.loads((AUDIO / "transcripts.json").read_text())[source.name]["text"]
    return text


def batched(count: int) -> list[Row]:
    """Sequential and batched on 150 s: seconds and word error rate; no bar."""
    source = AUDIO / "digits-en-long.wav"
    audio = repeated(source, 150)
    truth = " ".join([spoken(source)] * times(source, 150))
    took: dict[str, list[float]] = {"": [], "auto": []}
    rates: dict[str, float] = {}
    with serving() as server:
        server.transcribe(SPEECH.read_bytes(), model="tiny-digits")
        for _ in range(count):
            for strategy in took:
                status, body, seconds = server.transcribe(
                    audio,
                    model="tiny-digits",
                    language="en",
                    temperature="0",
                    chunking_strategy=strategy,
                )
                assert status == 200, body
                took[strategy].append(seconds)
                rates[strategy] = wer(truth, json.loads(body)["text"])
    one, two = median(took["auto"]), median(took[""])
    return [
        Row(
            f"(b) batched against sequential, 150 s, {count} pairs",
            f"{one:.2f} s, WER {rates['auto']:.3f}",
            f"{two:.2f} s, WER {rates['']:.3f}",
            one / two,
            "none",
            None,
        )
    ]


def first_delta(server: Server, audio: bytes) -> float:
    """Seconds from the last byte sent to the first delta."""
    body = multipart(audio, model="tiny-digits", temperature="0", stream="true")
    with contextlib.closing(server.connection()) as connection:
        connection.request("POST", "/v1/audio/transcriptions", body, HEADERS)
        sent = time.perf_counter()
        response = connection.getresponse()
        while True:
            line = response.readline()
            if b"transcript.text.delta" in line:
                took = time.perf_counter() - sent
                response.read()
                return took
            assert line, "no delta came"


def first(count: int) -> Row:
    """(c): pairs of first delta and first segment."""
    source = AUDIO / "digits-en-long.wav"
    audio = source.read_bytes()
    with serving() as server:
        direct = Direct("whisper")
        first_delta(server, audio)
        direct.ask({"path": str(source)})
        ours, theirs = [], []
        for _ in range(count):
            ours.append(first_delta(server, audio))
            theirs.append(direct.ask({"path": str(source)})["first"])
        direct.close()
    extra = median([a - b for a, b in zip(ours, theirs, strict=True)])
    return Row(
        f"(c) first delta after the last byte, {count} pairs",
        f"{median(ours) * 1000:.1f} ms",
        f"{median(theirs) * 1000:.1f} ms to the first segment",
        median(ours) / median(theirs),
        "<= +15 ms",
        extra <= 0.015,
    )


def run(quick: bool) -> list[Row]:
    """All three."""
    count = 2 if quick else 5
    seconds = 120.0 if quick else LONG_S
    return [
        pairs("whisper", "tiny-digits", AUDIO / "digits-en-long.wav", count, seconds, pieces=True),
        pairs("whisper", "tiny-digits", AUDIO / "digits-en-long.wav", count, seconds),
        pairs("sphinx", "pocketsphinx-en-us", SPEECH, 2 if quick else 3, seconds),
        *batched(count),
        first(3 if quick else 15),
    ]
