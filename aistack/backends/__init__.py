"""The backends there are. Adding one: its file, and its line here (or an entry point elsewhere)."""

from __future__ import annotations

ENGINES: dict[str, str] = {
    "whisper": "aistack.backends.whisper:Whisper",
    "parakeet": "aistack.backends.parakeet:Parakeet",
    "sensevoice": "aistack.backends.sensevoice:SenseVoice",
    "sphinx": "aistack.backends.sphinx:Sphinx",
    "espeak": "aistack.backends.espeak:Espeak",
    "nanochat": "aistack.backends.nanochat:Nanochat",
    "fake": "aistack.backends.fake:FakeEngine",
}
"""Engines (child processes) by name, in listing order; `fake` is offered only by `serve --fake`."""
