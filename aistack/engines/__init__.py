"""The engines there are. Adding one: its file, and its line here (or an entry point elsewhere)."""

from __future__ import annotations

ENGINES: dict[str, str] = {
    "whisper": "aistack.engines.whisper:Whisper",
    "parakeet": "aistack.engines.parakeet:Parakeet",
    "sensevoice": "aistack.engines.sensevoice:SenseVoice",
    "sphinx": "aistack.engines.sphinx:Sphinx",
    "espeak": "aistack.engines.espeak:Espeak",
    "nanochat": "aistack.engines.nanochat.engine:Nanochat",
}
"""Engines (child processes) by name. Where several could serve, the first here does."""

SCRIPTED: dict[str, str] = {"fake": "aistack.engines.fake:FakeEngine"}
"""The engine of the tests; offered only by `serve --fake`, instead of all others."""
