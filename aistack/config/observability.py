"""Settings of what is counted, logged and captured about requests. See `config`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from annotated_doc import Doc
from attrs import frozen

from aistack.config.section import Section
from aistack.config.units import MONTH_S, GiB, MiB
from aistack.contract.limits import Range


@frozen
class ObservabilitySection(Section):
    """What is counted, logged and captured. The console can change the three switches at run time."""

    metrics: Annotated[bool, Doc("Count requests and jobs for /metrics and /admin/api/metrics.")] = True
    access_log: Annotated[bool, Doc("Write one JSON line per capability request into log_dir.")] = True
    payload: Annotated[
        bool, Doc("Keep request and response bodies in payload_dir. They contain what users said.")
    ] = False
    log_dir: Annotated[
        str,
        Doc(
            "Folder of the access log. Empty: ~/.local/state/aistack/logs (XDG_STATE_HOME; "
            "%LOCALAPPDATA% on Windows)."
        ),
    ] = ""
    log_max_days: Annotated[
        int,
        Doc("Remove access logs older than this many days; 0: never."),
        Range(0, 3650),
    ] = 30
    payload_dir: Annotated[
        str,
        Doc(
            "Folder of captures. Empty: aistack_captures next to HF_HOME if that is set, "
            "otherwise captures next to the default log_dir."
        ),
    ] = ""
    payload_max_bytes: Annotated[
        int, Doc("Size of all captures together; beyond it the oldest are removed."), Range(0)
    ] = 5 * GiB
    payload_max_days: Annotated[
        int, Doc("Remove captures older than this many days; 0: never."), Range(0, 3650)
    ] = 7
    payload_response_max_bytes: Annotated[
        int, Doc("Keep at most this many bytes of one response."), Range(0)
    ] = 50 * MiB
    metrics_window_s: Annotated[
        float, Doc("Window for the percentiles in /admin/api/metrics."), Range(1, MONTH_S)
    ] = 3600.0
    otel_endpoint: Annotated[
        str,
        Doc(
            "Where to send OpenTelemetry traces by OTLP over HTTP, such as "
            '"http://127.0.0.1:4318/v1/traces". Empty: nowhere. Needs the extra "otel".'
        ),
    ] = ""


def state_folder(environ: Mapping[str, str]) -> Path:
    """Where programs keep logs on this system; in the working folder for a user without a home."""
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
