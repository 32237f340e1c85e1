"""Parakeet and SenseVoice each in a virtual environment of its own, behind one gateway that has neither.

    python -m contrib.dev.two_environments FOLDER

makes FOLDER/parakeet (nemo_toolkit, no funasr) and FOLDER/sensevoice (funasr, no nemo_toolkit) with pip
unless they are there (about 2 GB each), then starts the gateway of *this* interpreter with `python =`
pointing at them, sends both a recording, and says where each answer came from. Whatever is unexpected
ends it with an assertion. Existing interpreters can be named instead: `--parakeet P --sensevoice P`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import venv
from functools import partial
from pathlib import Path

from contrib.dev.bench.ears import EARS, EARS_BY_NAME, engines, lines, loaded, said, until
from contrib.dev.bench.harness import AUDIO, ROOT, serving

LIBRARY = {"parakeet": "nemo", "sensevoice": "funasr"}


def made(folder: Path, name: str) -> Path:
    """The interpreter of a new environment for one engine."""
    python = folder / name / "bin" / "python"
    if not python.exists():
        venv.create(folder / name, with_pip=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt")]
        subprocess.run([*pip, "torch"], check=True)  # first: the file for this machine's device
        subprocess.run([*pip, f"{ROOT}[{name}]"], check=True)
    return python


def has(python: Path | str, library: str) -> bool:
    """Whether an interpreter could import a library."""
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({library!r}) is None)"
    return subprocess.run([str(python), "-c", code], check=False).returncode == 0


def section(config: str, name: str, python: Path) -> str:
    return config.replace(f"[{name}]\n", f'[{name}]\npython = "{python}"\n')


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("environments"))
    for name in LIBRARY:
        parser.add_argument(f"--{name}", type=Path, help="an interpreter that is there already")
    options = parser.parse_args()
    config = EARS
    homes = {}
    print("| interpreter | torch | nemo | funasr |\n| --- | --- | --- | --- |")
    here = [importlib.util.find_spec(library) is not None for library in ("torch", "nemo", "funasr")]
    print(f"| gateway: {sys.executable} | " + " | ".join("yes" if each else "-" for each in here) + " |")
    for name in LIBRARY:
        python = (getattr(options, name) or made(options.folder, name)).absolute()
        homes[name] = python
        config = section(config, name, python)
        there = [has(python, library) for library in ("torch", "nemo", "funasr")]
        print(f"| {name}: {python} | " + " | ".join("yes" if each else "-" for each in there) + " |")
    audio = (AUDIO / "digits-en.wav").read_bytes()
    truth = json.loads((AUDIO / "transcripts.json").read_text())["digits-en.wav"]["text"]
    print("\n| asked | status | heard | interpreter of its process | prepare_s | run_s |")
    print("| --- | --- | --- | --- | --- | --- |")
    with serving(config=config) as server:
        for name in LIBRARY:
            status, body, _ = server.transcribe(audio, model=EARS_BY_NAME[name].model)
            assert status == 200, body
            text = json.loads(body)["text"]
            (process,) = engines(server)
            used = process.cmdline()[0]
            until(partial(lines, server, "job.done", backend=name), "the line of the job")
            (done,) = lines(server, "job.done", backend=name)
            took = f"{done['prepare_s']:.1f} | {done['run_s']:.2f}"
            print(f"| {name} | {status} | {text} | {used} | {took} |")
            assert said(text) == truth, text
            assert used == str(homes[name])
            assert len(loaded(server)) == 1


if __name__ == "__main__":
    main()
