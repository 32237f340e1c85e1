"""The configuration: frozen sections, each field with its sentence and its rule.

Times are seconds, sizes bytes. `config.load` reads the layers (file, environment, command line);
`config_sample` prints the annotated sample from the same sentences, so that it cannot drift.
"""

from __future__ import annotations

from collections.abc import Mapping

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
from aistack.config.rules import MONTH_S, addresses, at_least, between, not_empty, one_of

GiB = 1024**3
MiB = 1024**2


@frozen
class Server:
    """Where the service listens and whom it lets in."""

    listen: tuple[str, ...] = field(
        validator=addresses,
        default=("127.0.0.1:11500",),
        metadata={"says": "Addresses to listen on, host:port; several are allowed."},
    )
    api_keys: tuple[str, ...] = field(
        default=(),
        repr=False,
        metadata={"says": "Bearer keys for /v1, /admin data and /metrics. Empty: no key is asked for."},
    )
    allowed_origins: tuple[str, ...] = field(
        default=(),
        metadata={"says": "Browser origins, besides our own, that may call us."},
    )
    allowed_hosts: tuple[str, ...] = field(
        default=(),
        metadata={"says": "DNS names, besides the machine's own, that a Host header may carry."},
    )
    drain_grace_s: float = field(
        validator=between(0, MONTH_S),
        default=20.0,
        metadata={"says": "After SIGTERM: how long running jobs may go on."},
    )
    send_timeout_s: float = field(
        validator=between(0.001, MONTH_S),
        default=120.0,
        metadata={"says": "A client that takes no byte for so long is cut off."},
    )
    upload_idle_s: float = field(
        validator=between(0.001, MONTH_S),
        default=60.0,
        metadata={"says": "An upload that brings no byte for so long is given up."},
    )
    max_upload_bytes: int = field(
        validator=at_least(1), default=1 * GiB, metadata={"says": "Largest audio upload; beyond it 413."}
    )
    max_json_bytes: int = field(
        validator=at_least(1), default=64 * MiB, metadata={"says": "Largest JSON body; beyond it 413."}
    )
    spool_dir: str = field(
        default="", metadata={"says": "Folder for uploads in progress. Empty: the system's."}
    )


@frozen
class Slots:
    """The cards, and how jobs share them."""

    devices: tuple[str, ...] = field(
        default=("auto",),
        validator=not_empty,
        metadata={
            "says": 'One slot per device: "auto" (cuda:0 if there is a GPU), "cpu", "cuda:1", ...'
        },
    )
    line_max: int = field(
        validator=between(0, 10_000),
        default=16,
        metadata={"says": "How many callers may stand in line (those who sent Prefer: wait=N)."},
    )
    wait_s: float = field(
        validator=between(0, MONTH_S),
        default=0.0,
        metadata={"says": "Patience of callers who did not say: 0 is an immediate 503."},
    )
    wait_max_s: float = field(
        validator=between(0, MONTH_S),
        default=300.0,
        metadata={"says": "Cap on a caller's Prefer: wait=N."},
    )
    idle_unload_s: float = field(
        validator=between(0, MONTH_S),
        default=300.0,
        metadata={"says": "An idle model is unloaded after so long; 0 keeps it for ever."},
    )
    preload: str = field(default="", metadata={"says": "A model to load at start."})
    slow_client_s: float = field(
        validator=between(0.001, MONTH_S),
        default=300.0,
        metadata={"says": "A client that holds a relayed answer up for so long, in all, is cut off."},
    )
    open_after_s: float = field(
        validator=between(0.001, MONTH_S),
        default=15.0,
        metadata={"says": "A streaming answer's headers go out after so long, if nothing came before."},
    )
    heartbeat_s: float = field(
        validator=between(0.001, MONTH_S),
        default=10.0,
        metadata={"says": "A comment is sent when a stream has been silent for so long."},
    )


@frozen
class Engines:
    """What all engine processes share."""

    kill_after_s: float = field(
        validator=between(0, MONTH_S),
        default=0.0,
        metadata={"says": "A cancelled run still going after so long is killed; 0: as the engine says."},
    )
    stall_s: float = field(
        validator=between(0.001, MONTH_S),
        default=120.0,
        metadata={"says": "A load or run without any sign of life for so long is killed."},
    )
    start_s: float = field(
        validator=between(0.001, MONTH_S),
        default=120.0,
        metadata={"says": "How long an engine process may take to say hello."},
    )
    nice: int = field(
        validator=between(0, 19), default=10, metadata={"says": "Niceness of engine processes (POSIX)."}
    )
    threads: int = field(
        validator=between(0, 1024),
        default=0,
        metadata={"says": "CPU threads per engine; 0: what the engine thinks best."},
    )
    spare: str = field(
        validator=one_of("auto", "on", "off"),
        default="auto",
        metadata={"says": "Keep an evicted engine's next process warm; auto: from 16 GB of RAM on."},
    )
    disabled: tuple[str, ...] = field(
        default=(), metadata={"says": "Engines not to offer, by name (whisper, sphinx, ...)."}
    )


DEFAULT_ALIASES: Mapping[str, str] = {
    "whisper-1": "whisper-small",
    "gpt-4o-transcribe": "auto",
    "gpt-4o-mini-transcribe": "auto",
    "gpt-transcribe": "auto",
}


@frozen
class Models:
    """Names beyond the built-in ones."""

    local: Mapping[str, str] = field(
        factory=dict,
        metadata={"says": "Whisper directories by the id they are served under."},
    )
    aliases: Mapping[str, str] = field(
        factory=lambda: dict(DEFAULT_ALIASES),
        metadata={"says": "Ids that stand for others; accepted, not listed."},
    )


@frozen
class Log:
    """What is logged and how."""

    level: str = field(
        validator=one_of("debug", "info", "warning", "error"),
        default="info",
        metadata={"says": "debug, info, warning or error."},
    )
    format: str = field(
        validator=one_of("auto", "json", "pretty"),
        default="auto",
        metadata={"says": '"json", "pretty", or "auto": pretty on a terminal.'},
    )


@frozen
class Config:
    """Everything. Each section is a table of the file and a part of the environment's names."""

    server: Server = field(factory=Server)
    slots: Slots = field(factory=Slots)
    engines: Engines = field(factory=Engines)
    whisper: WhisperSection = field(factory=WhisperSection)
    parakeet: ParakeetSection = field(factory=ParakeetSection)
    sensevoice: SensevoiceSection = field(factory=SensevoiceSection)
    sphinx: SphinxSection = field(factory=SphinxSection)
    fake: FakeSection = field(factory=FakeSection)
    nanochat: NanochatSection = field(factory=NanochatSection)
    inference: InferenceSection = field(factory=InferenceSection)
    ollama: OllamaSection = field(factory=OllamaSection)
    qwen_tts: QwenTtsSection = field(factory=QwenTtsSection)
    models: Models = field(factory=Models)
    log: Log = field(factory=Log)
    observability: ObservabilitySection = field(factory=ObservabilitySection)
