"""Environment names of earlier gateways with this contract, and what became of them.

Names that have no effect any more are recognised, so that a start with an old environment says so in
one line, not in nineteen warnings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen


def _same(value: Any) -> Any:
    return value


def _keep_alive(seconds: float) -> float:
    """0 there meant "at the next sweep"; here it would mean never."""
    return 1.0 if seconds == 0 else seconds


def _one_day_at_least(days: int) -> int:
    """0 there removed everything at the next sweep; here it would keep everything for ever."""
    return 1 if days == 0 else days


def _from_gib(size: float) -> int:
    return int(size * 1024**3)


def _from_mib(size: float) -> int:
    return int(size * 1024**2)


def _from_minutes(minutes: float) -> float:
    return minutes * 60


@frozen
class Legacy:
    """An old name; `target` is the `section.field` it sets now, none if it has no effect.

    `kind` is the type its text was read as there, where that differs from the target's.
    """

    name: str
    says: str
    target: str | None = None
    convert: Callable[[Any], Any] = _same
    kind: Any = None


LEGACY = {
    item.name: item
    for item in (
        Legacy(
            "AISTACK_MODEL_KEEP_ALIVE_SEC",
            "seconds until an idle model is unloaded (0: after one second)",
            "slots.idle_unload_s",
            _keep_alive,
        ),
        Legacy("AISTACK_MODEL_SCAN_INTERVAL_SEC", "not needed: unloading is timed, nothing sweeps"),
        Legacy("AISTACK_OLLAMA_URL", "where Ollama listens", "ollama.url"),
        Legacy("AISTACK_QWEN3_TTS_UPSTREAM", "where the container listens", "qwen_tts.url"),
        Legacy("AISTACK_PARAKEET_ATTENTION_MODE", "gone: long audio always gets local attention"),
        Legacy("AISTACK_PARAKEET_ATT_CONTEXT_SIZE", "now parakeet.attention_context, one number"),
        Legacy("AISTACK_PARAKEET_CHUNK_DISABLE", "gone: long audio is always heard in windows"),
        Legacy("AISTACK_PARAKEET_CHUNK_WINDOW_SEC", "window, seconds", "parakeet.window_s"),
        Legacy("AISTACK_PARAKEET_CHUNK_OVERLAP_SEC", "overlap, seconds", "parakeet.overlap_s"),
        Legacy("AISTACK_PARAKEET_CHUNK_MIN_LAST_SEC", "least last window, seconds", "parakeet.least_s"),
        Legacy("AISTACK_PARAKEET_CLEAR_CACHE_BETWEEN", "was a harmful experiment; gone"),
        Legacy("AISTACK_OBS_METRICS", "whether requests are counted", "observability.metrics"),
        Legacy("AISTACK_OBS_ACCESS_LOG", "one JSON line per request", "observability.access_log"),
        Legacy("AISTACK_OBS_PAYLOAD", "whether bodies are captured", "observability.payload"),
        Legacy("AISTACK_OBS_LOG_DIR", "folder of the access log", "observability.log_dir"),
        Legacy("AISTACK_OBS_PAYLOAD_DIR", "folder of captures", "observability.payload_dir"),
        Legacy(
            "AISTACK_OBS_PAYLOAD_MAX_GB",
            "cap on all captures, GiB",
            "observability.payload_max_bytes",
            _from_gib,
            float,
        ),
        Legacy(
            "AISTACK_OBS_PAYLOAD_MAX_DAYS",
            "age cap, days (0: one day)",
            "observability.payload_max_days",
            _one_day_at_least,
        ),
        Legacy(
            "AISTACK_OBS_PAYLOAD_RESP_MAX_MB",
            "cap on one response, MiB",
            "observability.payload_response_max_bytes",
            _from_mib,
            float,
        ),
        Legacy(
            "AISTACK_OBS_METRICS_WINDOW_MIN",
            "rolling window, minutes",
            "observability.metrics_window_s",
            _from_minutes,
        ),
        Legacy("AISTACK_TEST_AUDIO_DIR", "was for that gateway's tests"),
    )
}
