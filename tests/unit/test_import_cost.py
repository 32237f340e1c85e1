"""What the gateway's own process may import: engines' libraries never, the parser almost nothing."""

from __future__ import annotations

import json
import subprocess
import sys

from aistack.engines import ENGINES

HEAVY = {
    "av",
    "ctranslate2",
    "faster_whisper",
    "funasr",
    "huggingface_hub",
    "nemo",
    "numpy",
    "onnxruntime",
    "opentelemetry",
    "pocketsphinx",
    "prometheus_client",
    "requests",
    "tokenizers",
    "torch",
}
COMMANDS = {"aiohttp", "attrs", "cattrs", "structlog", "asyncio"}


def imported(*modules: str) -> set[str]:
    """Top-level modules that are in memory after importing `modules` in a fresh interpreter."""
    code = f"import {','.join(modules)}, sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def test_the_parser_imports_next_to_nothing() -> None:
    assert not imported("aistack.cli.main") & (HEAVY | COMMANDS)


def test_the_commands_import_no_engine_library() -> None:
    commands = ("cli.serve", "cli.transcribe", "cli.pull", "cli.doctor", "config.sample")
    assert not imported(*(f"aistack.{name}" for name in commands)) & HEAVY


def test_the_service_and_the_engines_modules_import_no_engine_library() -> None:
    engines = {dotted.partition(":")[0] for dotted in ENGINES.values()}
    assert engines
    assert not imported("aistack.service.serve", *engines) & HEAVY
