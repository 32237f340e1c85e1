"""POST /v1/audio/transcriptions and /v1/audio/translations: upload, form, route, wire, job, answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiohttp import web

from aistack.chunks import TranscriptionRequest
from aistack.contract.converters import form
from aistack.contract.public import FilePart, TranscriptionForm
from aistack.ids import job_id
from aistack.jobs.model import Job
from aistack.jobs.states import Op
from aistack.routing.facts import Chosen
from aistack.web.delivery import deliver
from aistack.web.keys import CONFIG, INVENTORY, SCHEDULER
from aistack.web.queueing import patience, refuse_unread
from aistack.web.request_id import request_id
from aistack.web.upload.form import Received, receive_audio
from aistack.wire.transcript import transcript_wire


async def transcriptions(request: web.Request) -> web.StreamResponse:
    """Speech to text, in the language that is spoken (or in English, with translate=true)."""
    return await _listen(request, translate=False)


async def translations(request: web.Request) -> web.StreamResponse:
    """Speech to English text."""
    return await _listen(request, translate=True)


async def _listen(request: web.Request, translate: bool) -> web.StreamResponse:
    settings = request.app[CONFIG]
    scheduler = request.app[SCHEDULER]
    waits = patience(request.headers.getall("Prefer", []), settings.slots)
    now = asyncio.get_running_loop().time()
    refuse_unread(request, scheduler.snapshot, Op.TRANSCRIBE, waits.seconds > 0, now)
    async with receive_audio(request, settings.server) as received:
        asked = form(TranscriptionForm, sent(received))
        translated = translate or asked.translate
        chosen = await request.app[INVENTORY].route(asked.model, asked.language, translated)
        job = Job(
            job_id(),
            request_id(request),
            Op.TRANSCRIBE,
            chosen.route,
            to_hear(asked, chosen, translated, settings.whisper.batched),
            transcript_wire(asked, chosen.model_id, translated),
            patience=waits.seconds,
            context={
                "client": request.remote or "",
                "bytes_in": received.spool.bytes,
                "format": shown(asked),
            },
        )
        return await deliver(request, scheduler, job, received.hand_over(), waits.headers)


def sent(received: Received) -> dict[str, Sequence[str | FilePart]]:
    """The form as it came, the file among its fields."""
    file = FilePart(received.spool.path, received.file_name, received.spool.bytes)
    return {**received.fields, "file": [file]}


def shown(asked: TranscriptionForm) -> str:
    """The answer's format, for the log."""
    return "stream" if asked.stream else asked.response_format


def to_hear(
    asked: TranscriptionForm, chosen: Chosen, translate: bool, batch: bool
) -> TranscriptionRequest:
    """What the engine is asked for; `batch`: the setting for all whole answers.

    A stream is never batched: its deltas would come in bursts.
    """
    return TranscriptionRequest(
        path=asked.file.path,
        language=chosen.hint,
        translate=translate,
        prompt=asked.prompt,
        temperature=asked.temperature,
        hotwords=asked.hotwords,
        granularity=asked.segment_granularity,
        batched=(batch or asked.chunking_strategy == "auto") and not asked.stream,
        downgrade=chosen.model_id if asked.stream and not chosen.streams else "",
    )
