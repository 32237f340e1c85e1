"""Environment variables of earlier gateways with this contract, and what became of them.

Variables that no longer have an effect are recognised, so that a start in an old environment reports
them in one line, not in nineteen warnings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen

from aistack.config.units import GiB, MiB


def _same(value: Any) -> Any:
    return value


def _at_least_a_second(seconds: float) -> float:
    """0 meant "at the next sweep" there; here it would mean never."""
    return 1.0 if seconds == 0 else seconds


def _at_least_a_day(days: int) -> int:
    """0 removed everything at the next sweep there; here it would mean never."""
    return 1 if days == 0 else days


def _from_gib(size: float) -> int:
    return int(size * GiB)


def _from_mib(size: float) -> int:
    return int(size * MiB)


def _from_minutes(minutes: float) -> float:
    return minutes * 60


@frozen
class LegacyVariable:
    """An old name; `target` is the `section.field` that it sets now, None if it has no effect.

    `kind` is the type as which its text was read there, if it differs from the target's.
    """

    name: str
    target: str | None = None
    convert: Callable[[Any], object] = _same
    kind: type | None = None


LEGACY = {
    each.name: each
    for each in (
        LegacyVariable("AISTACK_MODEL_KEEP_ALIVE_SEC", "slots.idle_unload_s", _at_least_a_second),
        LegacyVariable("AISTACK_MODEL_SCAN_INTERVAL_SEC"),  # unloading is timed, nothing sweeps
        LegacyVariable("AISTACK_OLLAMA_URL", "ollama.url"),
        LegacyVariable("AISTACK_QWEN3_TTS_UPSTREAM", "qwen_tts.url"),
        LegacyVariable("AISTACK_PARAKEET_ATTENTION_MODE"),  # long audio always gets local attention
        LegacyVariable("AISTACK_PARAKEET_ATT_CONTEXT_SIZE"),  # a pair; attention_context is one number
        LegacyVariable("AISTACK_PARAKEET_CHUNK_DISABLE"),  # long audio always gets windows
        LegacyVariable("AISTACK_PARAKEET_CHUNK_WINDOW_SEC", "parakeet.window_s"),
        LegacyVariable("AISTACK_PARAKEET_CHUNK_OVERLAP_SEC", "parakeet.overlap_s"),
        LegacyVariable("AISTACK_PARAKEET_CHUNK_MIN_LAST_SEC", "parakeet.least_s"),
        LegacyVariable("AISTACK_PARAKEET_CLEAR_CACHE_BETWEEN"),  # a harmful experiment
        LegacyVariable("AISTACK_OBS_METRICS", "observability.metrics"),
        LegacyVariable("AISTACK_OBS_ACCESS_LOG", "observability.access_log"),
        LegacyVariable("AISTACK_OBS_PAYLOAD", "observability.payload"),
        LegacyVariable("AISTACK_OBS_LOG_DIR", "observability.log_dir"),
        LegacyVariable("AISTACK_OBS_PAYLOAD_DIR", "observability.payload_dir"),
        LegacyVariable(
            "AISTACK_OBS_PAYLOAD_MAX_GB", "observability.payload_max_bytes", _from_gib, float
        ),
        LegacyVariable(
            "AISTACK_OBS_PAYLOAD_MAX_DAYS", "observability.payload_max_days", _at_least_a_day
        ),
        LegacyVariable(
            "AISTACK_OBS_PAYLOAD_RESP_MAX_MB",
            "observability.payload_response_max_bytes",
            _from_mib,
            float,
        ),
        LegacyVariable(
            "AISTACK_OBS_METRICS_WINDOW_MIN", "observability.metrics_window_s", _from_minutes
        ),
        LegacyVariable("AISTACK_TEST_AUDIO_DIR"),  # for that gateway's tests
    )
}
