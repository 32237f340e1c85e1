"""What consumers of the internal inference API (seed 004) see: requests, events, responses. Pure.

As `contract.public`. `CLOSED` types have exactly their fields; a newer version may add fields to all
other types.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_doc import Doc
from attrs import frozen

from aistack.contract.fields import KEEP_NULL
from aistack.contract.limits import Characters, Items, Pattern, Range, TotalCharacters
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
    role: Annotated[Literal["user", "assistant"], Doc("Author of the message.")]
    content: Annotated[
        str,
        Doc("The text; anything that looks like a special token stays text."),
        Characters(1, CONTENT_MAX),
    ]


@frozen(kw_only=True)
class GenerateRequest:
    """The body of /generate. Null means the service's default, as if the field were absent."""

    CLOSED: ClassVar[bool] = True
    messages: Annotated[
        tuple[ChatMessage, ...],
        Doc(f"The conversation so far, oldest message first; at most {TOTAL_MAX} characters in total."),
        Items(1, MESSAGES_MAX),
        TotalCharacters("content", TOTAL_MAX),
    ]
    temperature: Annotated[
        float | None,
        Doc("Sampling temperature; 0 always takes the most likely token."),
        Range(0.0, TEMPERATURE_MAX),
    ] = None
    top_k: Annotated[
        int | None, Doc("Sample from this many most likely tokens; 0: from all."), Range(0, TOP_K_MAX)
    ] = None
    max_tokens: Annotated[
        int | None, Doc("Largest number of tokens to generate."), Range(1, TOKENS_MAX)
    ] = None


@frozen(kw_only=True)
class TokenEvent:
    """Newly generated text: one or more whole characters."""

    token: Annotated[str, Doc("The text; the texts of all events joined are the answer.")]
    gpu: Annotated[int, Doc("Number of the slot that generated it.")]


@frozen(kw_only=True)
class DoneMark:
    """The end of a generation; the last event."""

    done: Annotated[Literal[True], Doc("Always true.")] = True


@frozen(kw_only=True)
class GenerationFailed:
    """A failure after the stream started; the last event, so no done event follows."""

    error: Annotated[ErrorBody, Doc("What went wrong.")]


GenerationEvent = TokenEvent | DoneMark | GenerationFailed
"""One `data:` line of /generate."""


@frozen(kw_only=True)
class ModelInfo:
    """Weights on disk."""

    CLOSED: ClassVar[bool] = True
    model_tag: Annotated[str, Doc("Name of their directory; pass it to /models/swap.")]
    source: Annotated[str, Doc("Kind of weights: nanochat or huggingface.")]
    path: Annotated[str, Doc("Their directory on the server.")]
    loaded: Annotated[bool, Doc("Whether /generate uses these weights.")]


@frozen(kw_only=True)
class ModelRegistry:
    """All weights that can be selected."""

    current_model: Annotated[
        str | None, Doc("Tag that /generate uses; null before the first load."), KEEP_NULL
    ]
    models: Annotated[tuple[ModelInfo, ...], Doc("Sorted by tag.")]


@frozen(kw_only=True)
class SwapRequest:
    """The body of /models/swap; other fields are ignored."""

    model_tag: Annotated[
        str,
        Doc("A tag from /models."),
        Characters(1, TAG_MAX),
        Pattern(TAG, "the plain name of a folder, without separators or '..'"),
    ]


@frozen(kw_only=True)
class WorkerInfo:
    """One slot of the pool."""

    gpu_id: Annotated[int, Doc("Number of the slot, as in `gpu` of token events.")]
    device: Annotated[str, Doc("The device, such as cuda:0 or cpu.")]
    model_tag: Annotated[str | None, Doc("Tag that its next generation uses, or null."), KEEP_NULL]
    resident: Annotated[str | None, Doc("Model in its memory now, or null."), KEEP_NULL]


@frozen(kw_only=True)
class LastSwap:
    """The last change of weights."""

    model_tag: Annotated[str, Doc("The requested tag.")]
    status: Annotated[Literal["running", "ok", "failed"], Doc("How far the change is.")]
    error: Annotated[str | None, Doc("Why it failed, or null."), KEEP_NULL]


@frozen(kw_only=True)
class PoolStats:
    """Worker pool and throughput since the service started."""

    total_workers: Annotated[int, Doc("Number of slots.")]
    available_workers: Annotated[int, Doc("Free slots.")]
    busy_workers: Annotated[int, Doc("Slots in use, by any kind of job.")]
    draining: Annotated[bool, Doc("Whether a change of weights is in progress.")]
    workers: Annotated[tuple[WorkerInfo, ...], Doc("All slots.")]
    model_tag: Annotated[str | None, Doc("Tag that /generate uses, or null."), KEEP_NULL]
    queue_depth: Annotated[int, Doc("Requests in the queue.")]
    tokens_generated_total: Annotated[int, Doc("Tokens generated.")]
    tokens_per_second: Annotated[float, Doc("Average over the last minute.")]
    active_generations: Annotated[int, Doc("Generations in progress.")]
    requests_total: Annotated[int, Doc("Generations that have ended, whatever their outcome.")]
    failures_total: Annotated[int, Doc("Generations that failed.")]
    model_load_seconds: Annotated[float | None, Doc("How long the last load took, or null."), KEEP_NULL]
    last_swap: Annotated[LastSwap | None, Doc("The last change of weights, or null."), KEEP_NULL]
