"""What consumers of the internal inference API (seed 004) see: requests, events, answers. Pure.

As `contract.public`. `CLOSED` types have exactly their fields; a newer version may add some to
all others.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from attrs import field, frozen

from aistack.contract.public import ErrorBody

MESSAGES_MAX = 500
CONTENT_MAX = 8000
TOTAL_MAX = 32000
TEMPERATURE_MAX = 2.0
TOP_K_MAX = 200
TOKENS_MAX = 4096
TAG_MAX = 100
_PLAIN = r"[^\x00-\x1f\x7f/\\:"
TAG = rf"^(?!tokenizer$)(?!.*\.\.){_PLAIN}. ~-]({_PLAIN}]*{_PLAIN}. ])?$"
"""The plain name of a folder; not `tokenizer`, where nanochat keeps what its checkpoints share.
(Characters that cannot be printed are refused too.)"""


@frozen(kw_only=True)
class ChatMessage:
    """One turn of a conversation."""

    CLOSED: ClassVar[bool] = True
    role: Literal["user", "assistant"] = field(metadata={"says": "Who says it."})
    content: str = field(
        metadata={
            "says": "What is said; text that looks like a special token stays text.",
            "min_length": 1,
            "max_length": CONTENT_MAX,
        }
    )


@frozen(kw_only=True)
class GenerateRequest:
    """The body of /generate. Null means the service's default, as if the field were absent."""

    CLOSED: ClassVar[bool] = True
    messages: tuple[ChatMessage, ...] = field(
        metadata={
            "says": f"The conversation so far, oldest first; {TOTAL_MAX} characters in all at most.",
            "min_length": 1,
            "max_length": MESSAGES_MAX,
        }
    )
    temperature: float | None = field(
        default=None,
        metadata={"says": "0 always takes the likeliest token.", "min": 0.0, "max": TEMPERATURE_MAX},
    )
    max_tokens: int | None = field(
        default=None, metadata={"says": "Tokens to make at most.", "min": 1, "max": TOKENS_MAX}
    )
    top_k: int | None = field(
        default=None,
        metadata={
            "says": "Draw from this many likeliest tokens; 0: from all.",
            "min": 0,
            "max": TOP_K_MAX,
        },
    )


@frozen(kw_only=True)
class TokenEvent:
    """Text that was just made: one or more whole characters."""

    token: str = field(metadata={"says": "The text; join all of them for the answer."})
    gpu: int = field(metadata={"says": "Number of the slot that made it."})


@frozen(kw_only=True)
class DoneMark:
    """The end of a generation; the last event."""

    done: Literal[True] = field(default=True, metadata={"says": "Always true."})


@frozen(kw_only=True)
class GenerationFailed:
    """A failure after the stream began; the last event, and no done comes."""

    error: ErrorBody = field(metadata={"says": "What went wrong."})


GenerationEvent = TokenEvent | DoneMark | GenerationFailed
"""One `data:` line of /generate."""


@frozen(kw_only=True)
class ModelInfo:
    """Weights on the disk."""

    CLOSED: ClassVar[bool] = True
    model_tag: str = field(metadata={"says": "Name of their directory; pass it to /models/swap."})
    source: str = field(metadata={"says": "What they are: nanochat or huggingface."})
    path: str = field(metadata={"says": "Their directory on the server."})
    loaded: bool = field(metadata={"says": "Whether these are the weights /generate uses."})


@frozen(kw_only=True)
class ModelRegistry:
    """All weights that could be selected."""

    current_model: str | None = field(
        metadata={"says": "Tag that /generate uses; null until one was loaded.", "keep_null": True}
    )
    models: tuple[ModelInfo, ...] = field(metadata={"says": "In order of their tags."})


@frozen(kw_only=True)
class SwapRequest:
    """The body of /models/swap; other fields are ignored."""

    model_tag: str = field(
        metadata={
            "says": "A tag from /models.",
            "min_length": 1,
            "max_length": TAG_MAX,
            "pattern": TAG,
        }
    )


@frozen(kw_only=True)
class WorkerInfo:
    """One slot of the pool."""

    gpu_id: int = field(metadata={"says": "Its number, as in `gpu` of token events."})
    device: str = field(metadata={"says": "The device, such as cuda:0 or cpu."})
    model_tag: str | None = field(
        metadata={"says": "Tag that its next generation uses.", "keep_null": True}
    )
    resident: str | None = field(
        metadata={"says": "Model that is in its memory now.", "keep_null": True}
    )


@frozen(kw_only=True)
class LastSwap:
    """The last change of weights."""

    model_tag: str = field(metadata={"says": "The tag that was asked for."})
    status: Literal["running", "ok", "failed"] = field(metadata={"says": "How far it is."})
    error: str | None = field(metadata={"says": "Why it failed, or null.", "keep_null": True})


@frozen(kw_only=True)
class PoolStats:
    """Worker pool and throughput, since the service started."""

    total_workers: int = field(metadata={"says": "Slots there are."})
    available_workers: int = field(metadata={"says": "Slots nobody holds."})
    busy_workers: int = field(metadata={"says": "Slots held, by whatever kind of work."})
    draining: bool = field(metadata={"says": "Whether a change of weights is under way."})
    workers: tuple[WorkerInfo, ...] = field(metadata={"says": "Every slot."})
    model_tag: str | None = field(metadata={"says": "Tag that /generate uses.", "keep_null": True})
    queue_depth: int = field(metadata={"says": "Calls in line."})
    tokens_generated_total: int = field(metadata={"says": "Tokens made."})
    tokens_per_second: float = field(metadata={"says": "Over the last minute."})
    active_generations: int = field(metadata={"says": "Generations that run now."})
    requests_total: int = field(metadata={"says": "Generations that ended, however they ended."})
    failures_total: int = field(metadata={"says": "Generations that failed."})
    model_load_seconds: float | None = field(
        metadata={"says": "How long the last load took.", "keep_null": True}
    )
    last_swap: LastSwap | None = field(
        metadata={"says": "The last change of weights, or null.", "keep_null": True}
    )
