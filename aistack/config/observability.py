"""Settings of what is watched and written down about requests. See `config`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen

from aistack.config.rules import MONTH_S, at_least, between

GiB = 1024**3
MiB = 1024**2


@frozen
class ObservabilitySection:
    """What is counted, logged and captured. The three switches can be turned live in the console."""

    metrics: bool = field(
        default=True,
        metadata={"says": "Count requests and jobs for /metrics and /admin/api/metrics."},
    )
    access_log: bool = field(
        default=True,
        metadata={"says": "Write one JSON line per capability request into log_dir."},
    )
    payload: bool = field(
        default=False,
        metadata={"says": "Keep request and response bodies in payload_dir. They hold what users said."},
    )
    log_dir: str = field(
        default="",
        metadata={
            "says": "Folder of the access log. Empty: ~/.local/state/aistack/logs (XDG_STATE_HOME; "
            "%LOCALAPPDATA% on Windows)."
        },
    )
    log_max_days: int = field(
        default=30,
        validator=between(0, 3650),
        metadata={"says": "Access logs older than so many days are removed; 0 keeps them for ever."},
    )
    payload_dir: str = field(
        default="",
        metadata={
            "says": "Folder of captures. Empty: aistack_captures beside HF_HOME if that is set, "
            "else captures beside the default log_dir."
        },
    )
    payload_max_bytes: int = field(
        default=5 * GiB,
        validator=at_least(0),
        metadata={"says": "All captures together; beyond it the oldest are removed."},
    )
    payload_max_days: int = field(
        default=7,
        validator=between(0, 3650),
        metadata={"says": "Captures older than so many days are removed; 0 keeps them for ever."},
    )
    payload_response_max_bytes: int = field(
        default=50 * MiB,
        validator=at_least(0),
        metadata={"says": "Of one response, so many bytes are kept."},
    )
    metrics_window_s: float = field(
        default=3600.0,
        validator=between(1, MONTH_S),
        metadata={"says": "Percentiles of /admin/api/metrics are over so long."},
    )
    otel_endpoint: str = field(
        default="",
        metadata={
            "says": "Where to send OpenTelemetry traces by OTLP over HTTP, as "
            '"http://127.0.0.1:4318/v1/traces". Empty: none. Needs the extra `otel`.'
        },
    )


def state_folder(environ: Mapping[str, str]) -> Path:
    """Where a program keeps logs on this system; the working folder for a user without a home."""
    windows = sys.platform == "win32"
    base = environ.get("LOCALAPPDATA" if windows else "XDG_STATE_HOME")
    if base:
        return Path(base) / "aistack"
    try:
        home = Path.home()
    except RuntimeError:
        return Path("aistack")
    return home.joinpath(*(("AppData", "Local") if windows else (".local", "state")), "aistack")


def log_folder(settings: ObservabilitySection, environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of the access log; nothing is created here."""
    return Path(settings.log_dir) if settings.log_dir else state_folder(environ) / "logs"


def payload_folder(settings: ObservabilitySection, environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of captures; nothing is created here."""
    if settings.payload_dir:
        return Path(settings.payload_dir)
    if environ.get("HF_HOME"):
        return Path(environ["HF_HOME"]).parent / "aistack_captures"
    return state_folder(environ) / "captures"
