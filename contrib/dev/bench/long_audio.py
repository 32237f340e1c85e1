"""Long audio through one engine: error rate with its seams, memory, and time per minute of audio.

    python -m contrib.dev.bench.long_audio parakeet --source tests/data/models/parakeet-digits.nemo
    python -m contrib.dev.bench.long_audio sensevoice --source tests/data/models/sensevoice-digits \\
        --option vad=tests/data/models/fsmn-vad-digits --option vad_silence_ms=400

The audio is a recording repeated to the wished length, so its text is known at every length; neither
memory nor time per minute may grow with it. Each length runs in a process of its own (its peak memory
is that of this length alone) through the Engine protocol, without HTTP. Works for every engine: by its
name, or as module:Class.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path
from typing import Any

import numpy as np

from aistack.chunks import ModelSpec, Segment, TranscriptionRequest
from aistack.engines import ENGINES, SCRIPTED
from contrib.dev.bench.harness import AUDIO

CLASSES = (
    ENGINES
    | SCRIPTED
    | {
        "parakeet": "aistack.engines.parakeet:Parakeet",
        "sensevoice": "aistack.engines.sensevoice:SenseVoice",
    }
)
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
FIGURES = {str(n): word for n, word in enumerate(WORDS)}


class Never:
    """A cancel token that is never set."""

    def is_set(self) -> bool:
        return False


def plain(text: str) -> list[str]:
    """Words without case and marks; figures as words, for engines that write them."""
    return [FIGURES.get(word, word) for word in re.sub(r"[^\w\s']", " ", text.lower()).split()]


def errors(wanted: list[str], got: list[str]) -> int:
    """The fewest words to change, add or leave out (Levenshtein), a row at a time."""
    known = {word: n for n, word in enumerate(dict.fromkeys([*wanted, *got]))}
    target = np.array([known[word] for word in got], np.int32)
    steps = np.arange(len(got) + 1, dtype=np.int32)
    row = steps.copy()
    for i, word in enumerate(wanted, 1):
        fresh = np.empty_like(row)
        fresh[0] = i
        fresh[1:] = np.minimum(row[1:] + 1, row[:-1] + (target != known[word]))
        # what is left out of `got` costs one each: the running minimum along the row
        row = np.minimum.accumulate(fresh - steps) + steps
    return int(row[-1])


def repeated(recording: Path, minutes: float, path: Path) -> int:
    """Write the recording over and over until it is `minutes` long; returns how often."""
    with wave.open(str(recording), "rb") as source:
        params, data = source.getparams(), source.readframes(source.getnframes())
    times = max(1, round(minutes * 60 * params.framerate / params.nframes))
    with wave.open(str(path), "wb") as target:
        target.setparams(params)
        for _ in range(times):
            target.writeframes(data)
    return times


def peak_mb() -> float:
    """The most memory this process ever had, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def heard(engine: Any, path: str, language: str | None) -> tuple[str, float, float]:
    """Text, seconds until the first segment, and in all."""
    began = time.perf_counter()
    first = 0.0
    texts: list[str] = []
    for item in engine.run(TranscriptionRequest(path, language=language), Never()):
        if isinstance(item, Segment):
            first = first or time.perf_counter() - began
            texts.append(item.text)
    return " ".join(texts), first, time.perf_counter() - began


def measured(args: argparse.Namespace) -> dict[str, Any]:
    """One length, in this process: load, hear the recording once, then the long file."""
    module, _, name = CLASSES.get(args.engine, args.engine).partition(":")
    engine = getattr(importlib.import_module(module), name)()
    options = dict(option.split("=", 1) for option in args.option)
    options.setdefault("threads", args.threads)
    spec = ModelSpec(args.engine, args.source or args.engine, args.device, options)
    engine.load(spec, lambda progress: None)
    truth = plain(args.truth or json.loads(args.transcripts.read_text())[args.recording.name]["text"])
    alone, _, _ = heard(engine, str(args.recording), args.language)
    loaded = peak_mb()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.wav"
        times = repeated(args.recording, args.minutes[0], path)
        cpu = time.process_time()
        text, first, took = heard(engine, str(path), args.language)
        cpu = time.process_time() - cpu
    seconds = times * wave_seconds(args.recording)
    return {
        "minutes": round(seconds / 60, 1),
        "wer": round(errors(truth * times, plain(text)) / (len(truth) * times), 4),
        "wer_once": round(errors(truth, plain(alone)) / len(truth), 4),
        "words_heard": len(plain(text)),
        "words_said": len(truth) * times,
        "peak_mb_loaded": round(loaded),
        "peak_mb": round(peak_mb()),
        "first_segment_s": round(first, 1),
        "wall_s_per_minute": round(took / (seconds / 60), 3),
        "cpu_s_per_minute": round(cpu / (seconds / 60), 3),
    }


def wave_seconds(path: Path) -> float:
    with wave.open(str(path), "rb") as file:
        return file.getnframes() / file.getframerate()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("engine", help="a name, or module:Class")
    parser.add_argument("--source", default="", help="directory, file or id of the model")
    parser.add_argument(
        "--option", action="append", default=[], help="an option of the engine, name=value"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--language", default=None)
    parser.add_argument("--minutes", type=float, nargs="+", default=[10.0, 100.0])
    parser.add_argument("--recording", type=Path, default=AUDIO / "digits-en-long.wav")
    parser.add_argument("--truth", default="", help="what is said in the recording")
    parser.add_argument("--transcripts", type=Path, default=AUDIO / "transcripts.json")
    parser.add_argument("--here", action="store_true", help="measure in this process, print JSON")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    if args.here:
        print(json.dumps(measured(args)))
        return
    others = sys.argv[1:]
    if "--minutes" in others:
        at = others.index("--minutes")
        del others[at : at + 1 + len(args.minutes)]
    rows = []
    for minutes in args.minutes:
        command = [sys.executable, "-m", "contrib.dev.bench.long_audio", *others]
        command += ["--minutes", str(minutes), "--here"]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        rows.append(json.loads(out.strip().splitlines()[-1]))
        print(json.dumps(rows[-1]), flush=True)
    print("| " + " | ".join(rows[0]) + " |")
    print("| " + " | ".join("---" for _ in rows[0]) + " |")
    for row in rows:
        print("| " + " | ".join(str(value) for value in row.values()) + " |")


if __name__ == "__main__":
    main()
