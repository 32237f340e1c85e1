"""The backends there are. Adding one: its file, and its line here (or an entry point elsewhere)."""

from __future__ import annotations

ENGINES: dict[str, str] = {
    "whisper": "aistack.engines.whisper:Whisper",
    "parakeet": "aistack.engines.parakeet:Parakeet",
    "sensevoice": "aistack.engines.sensevoice:SenseVoice",
    "sphinx": "aistack.engines.sphinx:Sphinx",
    "espeak": "aistack.engines.espeak:Espeak",
    "nanochat": "aistack.engines.nanochat.engine:Nanochat",
    "fake": "aistack.engines.fake:FakeEngine",
}
"""Engines (child processes) by name, in listing order; `fake` is offered only by `serve --fake`."""
