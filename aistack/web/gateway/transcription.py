"""POST /v1/audio/transcriptions and /v1/audio/translations: upload, form, route, wire, job, answer."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from aistack.chunks import TranscriptionRequest
from aistack.contract.forms import form
from aistack.contract.public import FilePart, TranscriptionForm
from aistack.jobs.states import Op
from aistack.routing.facts import Chosen
from aistack.web.delivery import deliver
from aistack.web.keys import CONFIG, INVENTORY, SCHEDULER
from aistack.web.submission import begin, job_of
from aistack.web.upload.form import Received, receive_audio
from aistack.wire.transcript import transcript_wire


async def transcriptions(request: web.Request) -> web.StreamResponse:
    """Speech to text, in the language that is spoken (or in English, with translate=true)."""
    return await _transcribe(request, translate=False)


async def translations(request: web.Request) -> web.StreamResponse:
    """Speech to English text."""
    return await _transcribe(request, translate=True)


async def _transcribe(request: web.Request, translate: bool) -> web.StreamResponse:
    settings = request.app[CONFIG]
    wish = begin(request, Op.TRANSCRIBE)
    async with receive_audio(request, settings.server) as received:
        asked = form(TranscriptionForm, form_fields(received))
        translated = translate or asked.translate
        chosen = await request.app[INVENTORY].route(asked.model, asked.language, translated)
        job = job_of(
            request,
            Op.TRANSCRIBE,
            chosen.route,
            engine_request(asked, chosen, translated, settings.whisper.batched),
            transcript_wire(asked, chosen.model_id, translated),
            wish,
            bytes_in=received.spool.bytes,
            format="stream" if asked.stream else asked.response_format,
        )
        scheduler = request.app[SCHEDULER]
        return await deliver(request, scheduler, job, received.hand_over(), wish.headers)


def form_fields(received: Received) -> dict[str, Sequence[str | FilePart]]:
    """The form as it came, the file among its fields."""
    file = FilePart(received.spool.path, received.file_name, received.spool.bytes)
    return {**received.fields, "file": [file]}


def engine_request(
    asked: TranscriptionForm, chosen: Chosen, translate: bool, batch: bool
) -> TranscriptionRequest:
    """The request to the engine; `batch`: the setting for all whole answers.

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
