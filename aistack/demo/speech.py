"""The scripted speech of the demo, with vLLM-Omni's protocol: health, models, voices, speech.

It does not speak. It plays a note for every word, higher for longer words, as 24 kHz mono
16-bit WAV or PCM, whole or in pieces.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import json
import math
import struct
from typing import Any

from aiohttp import web

MODEL = "demo-speech"
VOICE = "melody"
RATE = 24_000
NOTE_S = 0.18
PAUSE_S = 0.02
"""Pause between two pieces of a stream, so that it looks like one."""
SCALE = (0, 2, 4, 7, 9, 12, 14, 16, 19, 21)
"""Semitones above A3: two octaves of a pentatonic scale, in which no two notes clash."""
INPUT_CHARS = 4096
TYPES = {"wav": "audio/wav", "pcm": "audio/pcm"}
UNKNOWN_SIZE = 0xFFFFFFFF


def application() -> web.Application:
    """The server."""
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.add_routes(
        [
            web.get("/health", _health),
            web.get("/v1/models", _models),
            web.get("/v1/audio/voices", _voices),
            web.post("/v1/audio/speech", _speech),
        ]
    )
    return app


@functools.cache
def note(step: int) -> bytes:
    """One note of the scale, faded in and out."""
    count, pitch = int(RATE * NOTE_S), 220 * 2 ** (SCALE[step] / 12)
    fade = RATE // 100
    loud = (min(1.0, n / fade, (count - n) / fade) for n in range(count))
    wave = (math.sin(2 * math.pi * pitch * n / RATE) for n in range(count))
    return struct.pack(f"<{count}h", *(int(9000 * a * b) for a, b in zip(loud, wave, strict=True)))


def notes(text: str) -> list[bytes]:
    """A note per word; one note if there is no word."""
    return [note(min(len(word), len(SCALE)) - 1) for word in text.split()] or [note(0)]


def wav_header(size: int) -> bytes:
    """The 44 bytes before `size` bytes of samples; UNKNOWN_SIZE at the head of a stream."""
    whole = size if size == UNKNOWN_SIZE else size + 36
    form = struct.pack("<IHHIIHH", 16, 1, 1, RATE, RATE * 2, 2, 16)
    return b"RIFF" + struct.pack("<I", whole) + b"WAVEfmt " + form + b"data" + struct.pack("<I", size)


async def _health(request: web.Request) -> web.Response:
    return web.json_response({"status": "healthy"})


async def _models(request: web.Request) -> web.Response:
    return web.json_response(
        {"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "demo"}]}
    )


async def _voices(request: web.Request) -> web.Response:
    return web.json_response({"voices": [VOICE], "uploaded_voices": []})


async def _speech(request: web.Request) -> web.StreamResponse:
    try:
        asked = json.loads(await request.read())
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        return _error(400, "The body must be a JSON object.")
    text, kind = asked.get("input"), asked.get("response_format") or "wav"
    if not isinstance(text, str) or len(text) > INPUT_CHARS:
        return _error(400, f"input must be a text of at most {INPUT_CHARS} characters.", "input")
    if asked.get("model") not in (None, MODEL):
        return _error(404, f"The demo has only one model: {MODEL}.", "model")
    if kind not in TYPES:
        message = f"The demo only returns {' and '.join(TYPES)}; the container and espeak-ng do more."
        return _error(400, message, "response_format")
    played = notes(text)
    how = asked.get("stream_format")
    if asked.get("stream") is not True and how is None:
        samples = b"".join(played)
        head = wav_header(len(samples)) if kind == "wav" else b""
        return web.Response(body=head + samples, content_type=TYPES[kind])
    if how == "sse":
        return await _events(request, played)
    response = web.StreamResponse(headers={"Content-Type": TYPES[kind]})
    await response.prepare(request)
    if kind == "wav":
        await response.write(wav_header(UNKNOWN_SIZE))
    for samples in played:
        await response.write(samples)
        await asyncio.sleep(PAUSE_S)
    return response


async def _events(request: web.Request, played: list[bytes]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for samples in played:
        audio = base64.b64encode(samples).decode()
        await response.write(_event({"type": "speech.audio.delta", "audio": audio}))
        await asyncio.sleep(PAUSE_S)
    usage = {"input_tokens": 0, "output_tokens": len(played), "total_tokens": len(played)}
    await response.write(_event({"type": "speech.audio.done", "usage": usage}))
    return response


def _event(value: dict[str, Any]) -> bytes:
    return f"event: {value['type']}\ndata: {json.dumps(value)}\n\n".encode()


def _error(status: int, message: str, param: str | None = None) -> web.Response:
    kind = "NotFoundError" if status == 404 else "BadRequestError"
    error = {"message": message, "type": kind, "param": param, "code": status}
    return web.json_response({"error": error}, status=status)
