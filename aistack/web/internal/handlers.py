"""The internal inference API (seed 004): /generate, /models, /models/swap, /stats, and the chat
completions of local weights. The key is looked at before the body is read."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from aistack.chunks import GenerationRequest, Vram
from aistack.contract.converters import to_plain
from aistack.contract.internal import ModelInfo, ModelRegistry
from aistack.errors import BackendFault
from aistack.ids import job_id
from aistack.jobs.model import SELECTED, Job, Route, Snapshot
from aistack.jobs.states import Op
from aistack.web import guard
from aistack.web.answers import json_answer
from aistack.web.delivery import deliver
from aistack.web.internal import trace
from aistack.web.internal.body import ChatAsked, Defaults, chat_request, generate_request, swap_tag
from aistack.web.internal.stats import GenerationFigures
from aistack.web.keys import CONFIG, MODEL_ROOT, SCHEDULER, LocalWeights
from aistack.web.queueing import QueueWish
from aistack.web.submission import job_of, wish_of
from aistack.web.upload.bodies import read_json
from aistack.wire.accepted import SwapAnswer
from aistack.wire.base import Wire
from aistack.wire.tokens import ChatHead, StreamedChat, TokenEvents, WholeChat

HEADER = "X-Internal-API-Key"
BACKEND = "nanochat"
FIGURES: web.AppKey[GenerationFigures] = web.AppKey("generation_figures")


def authorise(request: web.Request) -> None:
    """Raise BackendFault unless the request carries the internal key: 503 if there is none, 401."""
    key = request.app[CONFIG].inference.api_key
    if not key:
        raise BackendFault(guard.no_internal_key())
    sent = request.headers.get(HEADER, "").encode("utf-8", "surrogateescape")
    if not hmac.compare_digest(hashlib.sha256(sent).digest(), hashlib.sha256(key.encode()).digest()):
        raise BackendFault(guard.wrong_internal_key(HEADER))
    trace.accepted(request)


async def generate(request: web.Request) -> web.StreamResponse:
    """Stream generated tokens; for a busy slot, queue as long as the caller or the setting allows."""
    authorise(request)
    config = request.app[CONFIG]
    body = await read_json(request, config.server)
    asked = generate_request(body, defaults(request), config.inference.tolerate_unknown_fields)
    wish = wish_of(request)
    if not wish.headers:
        wish = QueueWish(config.inference.wait_s)
    return await _deliver(request, asked, TokenEvents(), wish)


async def chat(request: web.Request, body: dict[str, object]) -> web.StreamResponse:
    """/v1/chat/completions for the current tag: called by the chat handler when `serves` says so."""
    asked: ChatAsked = chat_request(body, defaults(request))
    answer = ChatHead(f"chatcmpl-{job_id()}", int(time.time()), str(body["model"]))
    wire = StreamedChat(answer, asked.usage) if asked.stream else WholeChat(answer)
    return await _deliver(request, asked.request, wire, wish_of(request))


def serves(request: web.Request, model: object) -> bool:
    """Whether the OpenAI door is open and `model` is the current tag."""
    selected = request.app[SCHEDULER].snapshot.selected
    door: bool = request.app[CONFIG].inference.openai_door
    return door and selected is not None and model == selected.model


def defaults(request: web.Request) -> Defaults:
    """The configured meaning of absent options."""
    settings = request.app[CONFIG].inference
    return Defaults(settings.temperature, settings.top_k, settings.max_tokens)


async def _deliver(
    request: web.Request, asked: GenerationRequest, wire: Wire, wish: QueueWish
) -> web.StreamResponse:
    route = Route(BACKEND, SELECTED, Vram.OWN)
    job = job_of(request, Op.GENERATE, route, asked, wire, wish, messages=len(asked.messages))
    return await deliver(request, request.app[SCHEDULER], job, extra_headers=wish.headers)


async def models(request: web.Request) -> web.StreamResponse:
    """The weights on the disk, and which of them are selected."""
    authorise(request)
    found = await asyncio.to_thread(request.app[MODEL_ROOT].scan)
    root = request.app[CONFIG].inference.root
    return json_answer(to_plain(registry(request.app[SCHEDULER].snapshot, found, root)))


def registry(snapshot: Snapshot, found: Sequence[LocalWeights], root: str) -> ModelRegistry:
    """The current tag is listed even if its files have gone since it was loaded."""
    current = snapshot.selected.model if snapshot.selected is not None else None
    listed = {
        entry.tag: (entry.source, entry.path)
        for entry in found
        if not entry.problem or entry.tag == current
    }
    if current is not None:
        listed.setdefault(current, (BACKEND, str(Path(root) / current)))
    return ModelRegistry(
        current_model=current,
        models=tuple(
            ModelInfo(model_tag=tag, source=source, path=path, loaded=tag == current)
            for tag, (source, path) in sorted(listed.items())
        ),
    )


async def swap(request: web.Request) -> web.StreamResponse:
    """Change the weights. 202 at once; what comes of it is in /stats, /health and the log."""
    authorise(request)
    config = request.app[CONFIG]
    tag = swap_tag(await read_json(request, config.server))
    await asyncio.to_thread(request.app[MODEL_ROOT].find, tag)
    job = job_of(request, Op.SWAP, weights_route(tag), None, SwapAnswer())
    return await deliver(request, request.app[SCHEDULER], job)


def selection(tag: str) -> Job:
    """The job that makes `tag` current at the start. It has no client."""
    name = job_id()
    return Job(
        id=name,
        request_id=name,
        op=Op.SWAP,
        route=weights_route(tag),
        request=None,
        wire=None,
    )


def weights_route(tag: str) -> Route:
    """Where the weights of a tag are loaded."""
    return Route(BACKEND, tag, Vram.OWN)


async def stats(request: web.Request) -> web.StreamResponse:
    """Worker pool and throughput."""
    authorise(request)
    now = asyncio.get_running_loop().time()
    return json_answer(to_plain(request.app[FIGURES].answer(request.app[SCHEDULER].snapshot, now)))
