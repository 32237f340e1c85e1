"""Environment names of earlier gateways with this contract, and what became of them.

Names whose part is not built yet are recognised, so that a start with an old environment says in
one line what has no effect, not in nineteen warnings.
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


@frozen
class Legacy:
    """An old name; `target` is the `section.field` it sets now, none if it has no effect (yet)."""

    name: str
    says: str
    target: str | None = None
    convert: Callable[[Any], Any] = _same


_METRICS = "comes with metrics and payload capture"

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
        Legacy("AISTACK_OBS_METRICS", _METRICS),
        Legacy("AISTACK_OBS_ACCESS_LOG", "one job.done line per request is always written"),
        Legacy("AISTACK_OBS_PAYLOAD", _METRICS),
        Legacy("AISTACK_OBS_LOG_DIR", "logs go to stdout"),
        Legacy("AISTACK_OBS_PAYLOAD_DIR", _METRICS),
        Legacy("AISTACK_OBS_PAYLOAD_MAX_GB", _METRICS),
        Legacy("AISTACK_OBS_PAYLOAD_MAX_DAYS", _METRICS),
        Legacy("AISTACK_OBS_PAYLOAD_RESP_MAX_MB", _METRICS),
        Legacy("AISTACK_OBS_METRICS_WINDOW_MIN", _METRICS),
        Legacy("AISTACK_TEST_AUDIO_DIR", "was for that gateway's tests"),
    )
}
