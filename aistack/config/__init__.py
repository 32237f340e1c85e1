"""The configuration: frozen sections, each field with its sentence and its limits.

Times are seconds, sizes bytes. `config.load` reads the layers (file, environment, command line);
`config.sample` prints the annotated sample from the same sentences, so that it cannot drift.
"""

from __future__ import annotations

from attrs import field, frozen

from aistack.config.backends import (
    FakeSection,
    InferenceSection,
    NanochatSection,
    OllamaSection,
    ParakeetSection,
    QwenTtsSection,
    SensevoiceSection,
    SphinxSection,
    WhisperSection,
)
from aistack.config.observability import ObservabilitySection
from aistack.config.service import (
    DEFAULT_ALIASES,
    EnginesSection,
    LogSection,
    ModelsSection,
    ServerSection,
    SlotsSection,
)

__all__ = [
    "DEFAULT_ALIASES",
    "Config",
    "EnginesSection",
    "FakeSection",
    "InferenceSection",
    "LogSection",
    "ModelsSection",
    "NanochatSection",
    "ObservabilitySection",
    "OllamaSection",
    "ParakeetSection",
    "QwenTtsSection",
    "SensevoiceSection",
    "ServerSection",
    "SlotsSection",
    "SphinxSection",
    "WhisperSection",
]


@frozen
class Config:
    """Everything. Each section is a table in the file and part of the names of environment variables."""

    server: ServerSection = field(factory=ServerSection)
    slots: SlotsSection = field(factory=SlotsSection)
    engines: EnginesSection = field(factory=EnginesSection)
    whisper: WhisperSection = field(factory=WhisperSection)
    parakeet: ParakeetSection = field(factory=ParakeetSection)
    sensevoice: SensevoiceSection = field(factory=SensevoiceSection)
    sphinx: SphinxSection = field(factory=SphinxSection)
    fake: FakeSection = field(factory=FakeSection)
    nanochat: NanochatSection = field(factory=NanochatSection)
    inference: InferenceSection = field(factory=InferenceSection)
    ollama: OllamaSection = field(factory=OllamaSection)
    qwen_tts: QwenTtsSection = field(factory=QwenTtsSection)
    models: ModelsSection = field(factory=ModelsSection)
    log: LogSection = field(factory=LogSection)
    observability: ObservabilitySection = field(factory=ObservabilitySection)
