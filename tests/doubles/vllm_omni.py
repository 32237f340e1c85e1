"""A vLLM-Omni speech server without a model: its request checks, its routes, tones for speech.

By the real sources: `model` must be a served name, case and all; `task_type` knows three values;
voices are checked against the checkpoint's; unknown members are dropped; errors carry a numeric
`code`; GET routes answer HEAD with 405. `version` picks the behaviour where it changed: up to 0.22
`stream` sends raw bytes and `aac` passes; from 0.26 on `stream` and `stream_format` mean SSE.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import email
import json
import math
import struct
from email.message import Message
from typing import Any

from aiohttp import WSMsgType, web

from tests.doubles.base import Double, serve

HF_NAME = "Qwen/Qwen3-TTS-12Hz-0.6B-CustomVoice"
VOICES = ("aiden", "dylan", "eric", "ono_anna", "ryan", "serena", "sohee", "uncle_fu", "vivian")
TASKS = ("CustomVoice", "VoiceDesign", "Base")
LANGUAGES = (
    "Auto",
    "Chinese",
    "English",
    "Japanese",
    "Korean",
    "German",
    "French",
    "Russian",
    "Portuguese",
    "Spanish",
    "Italian",
)
TYPES = {
    "wav": "audio/wav",
    "pcm": "audio/pcm",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
}
RATE = 24000


def tone(text: str, seconds: float = 0.05) -> list[bytes]:
    """One block of 16-bit samples per word, so that a stream has as many pieces."""
    blocks = []
    for index, word in enumerate(text.split() or [""]):
        pitch = 220 + 10 * (len(word) + index)
        count = int(RATE * seconds)
        samples = (int(8000 * math.sin(2 * math.pi * pitch * n / RATE)) for n in range(count))
        blocks.append(b"".join(struct.pack("<h", sample) for sample in samples))
    return blocks


def wav_header(size: int = 0xFFFFFFFF) -> bytes:
    """44 bytes; a stream does not know its size."""
    total = 0xFFFFFFFF if size == 0xFFFFFFFF else size + 36
    return (
        b"RIFF"
        + struct.pack("<I", total)
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, 1, RATE, RATE * 2, 2, 16)
        + b"data"
        + struct.pack("<I", size)
    )


class Refused(Exception):
    """A request the real server would not take."""

    def __init__(self, status: int, kind: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.message, self.param = status, kind, message, param


def _data(part: Message) -> bytes:
    data = part.get_payload(decode=True)
    assert isinstance(data, bytes)
    return data


class VllmOmni(Double):
    """`served` are the names it answers to; `checkpoint` is the task its weights are made for."""

    def __init__(self, version: tuple[int, int] = (0, 30), real_clock: bool = False) -> None:
        super().__init__(real_clock)
        self.version = version
        self.served = [HF_NAME]
        self.checkpoint = "CustomVoice"
        self.uploaded: dict[str, dict[str, Any]] = {}
        self.healthy = True
        self.can_sleep = False
        self.sleeping = False
        self.encoding = ""
        """A Content-Encoding to claim, with bytes that are then sent as they are."""

    def routes(self) -> list[web.RouteDef]:
        routes = [
            web.get("/health", self._health, allow_head=False),
            web.get("/v1/models", self._models, allow_head=False),
            web.get("/v1/audio/voices", self._voices, allow_head=False),
            web.post("/v1/audio/voices", self._upload),
            web.delete("/v1/audio/voices/{name}", self._delete),
            web.post("/v1/audio/speech", self._speech),
            web.post("/v1/audio/speech/batch", self._batch),
            web.get("/v1/audio/speech/stream", self._websocket, allow_head=False),
            web.post("/sleep", self._sleep),
            web.post("/wake_up", self._wake),
            web.get("/is_sleeping", self._is_sleeping, allow_head=False),
        ]
        return routes

    # --- small calls -----

    async def _health(self, request: web.Request) -> web.Response:
        if self.healthy:
            return web.json_response({"status": "healthy"})
        return web.json_response({"status": "unhealthy"}, status=503)

    async def _models(self, request: web.Request) -> web.Response:
        data = [{"id": name, "object": "model", "owned_by": "vllm"} for name in self.served]
        return web.json_response({"object": "list", "data": data})

    async def _voices(self, request: web.Request) -> web.Response:
        value: dict[str, Any] = {"voices": sorted((*VOICES, *self.uploaded))}
        if self.version >= (0, 18):
            value["uploaded_voices"] = list(self.uploaded.values())
        return web.json_response(value)

    async def _upload(self, request: web.Request) -> web.Response:
        head = f"Content-Type: {request.headers.get('Content-Type', '')}\r\n\r\n".encode()
        form = email.message_from_bytes(head + await request.read())
        parts = {
            part.get_param("name", header="content-disposition"): part
            for part in form.walk()
            if not part.is_multipart()
        }
        if "name" not in parts or "audio_sample" not in parts:
            return error(400, "BadRequestError", "audio_sample, consent and name are required")
        name = _data(parts["name"]).decode()
        sample = parts["audio_sample"]
        size = len(_data(sample))
        self.uploaded[name] = {
            "name": name,
            "file_size": size,
            "mime_type": sample.get_content_type(),
        }
        return web.json_response({"success": True, "voice": self.uploaded[name]})

    async def _delete(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if self.uploaded.pop(name, None) is None:
            return web.json_response(
                {"success": False, "error": f"Voice '{name}' not found"}, status=404
            )
        return web.json_response({"success": True, "message": f"Voice '{name}' deleted"})

    # --- sleep -----

    async def _sleep(self, request: web.Request) -> web.Response:
        if not self.can_sleep:
            return web.json_response({"detail": "Not Found"}, status=404)
        self.sleeping = True
        return web.Response()

    async def _wake(self, request: web.Request) -> web.Response:
        if not self.can_sleep:
            return web.json_response({"detail": "Not Found"}, status=404)
        self.sleeping = False
        return web.Response()

    async def _is_sleeping(self, request: web.Request) -> web.Response:
        if not self.can_sleep:
            return web.json_response({"detail": "Not Found"}, status=404)
        return web.json_response({"is_sleeping": self.sleeping})

    # --- speech -----

    def check(self, asked: dict[str, Any]) -> None:
        """What the request model and the handler refuse. Raises Refused."""
        if not isinstance(asked.get("input"), str):
            raise Refused(400, "Bad Request", "[{'type': 'missing', 'loc': ('body', 'input')}]", "input")
        model = asked.get("model")
        if model is not None and model not in self.served:
            raise Refused(404, "NotFoundError", f"The model `{model}` does not exist.", "model")
        task = asked.get("task_type")
        if task is not None and task not in TASKS:
            raise Refused(400, "Bad Request", f"task_type: Input should be one of {TASKS}", "task_type")
        task = task or ("Base" if asked.get("ref_audio") or asked.get("ref_text") else "CustomVoice")
        if self.version >= (0, 30) and task != self.checkpoint:
            raise Refused(400, "BadRequestError", f"This checkpoint does not support task {task}")
        spoken = asked.get("language")
        if spoken is not None and self.version >= (0, 30):
            spoken = str(spoken).capitalize()
        if spoken is not None and spoken not in LANGUAGES:
            raise Refused(400, "BadRequestError", f"language must be one of {LANGUAGES}", "language")
        self._check_voice(asked.get("voice", asked.get("speaker")), task)
        audio = asked.get("ref_audio")
        if audio is not None and not str(audio).startswith(("http://", "https://", "data:", "file://")):
            raise Refused(400, "BadRequestError", "ref_audio must be a URL", "ref_audio")
        self._check_format(asked)

    def _check_voice(self, voice: Any, task: str) -> None:
        if isinstance(voice, dict):
            if self.version < (0, 30):
                raise Refused(400, "Bad Request", "voice: Input should be a valid string", "voice")
            voice = voice.get("id")
        if voice is None or (voice == "default" and self.version >= (0, 30)):
            return
        if not isinstance(voice, str):
            raise Refused(400, "Bad Request", "voice: Input should be a valid string", "voice")
        known = (*VOICES, *self.uploaded)
        if task == "CustomVoice" and voice.lower() not in known:
            raise Refused(400, "BadRequestError", f"Invalid voice '{voice}'. Supported: {known}")

    def _check_format(self, asked: dict[str, Any]) -> None:
        kind = asked.get("response_format", "wav")
        known = [name for name in TYPES if name != "aac" or self.version < (0, 26)]
        if kind not in known:
            raise Refused(400, "Bad Request", f"response_format: Input should be one of {known}")
        how = asked.get("stream_format")
        if self.version < (0, 26) and how == "sse":
            raise Refused(400, "Bad Request", "'sse' is not a supported stream_format yet")
        if self.streams(asked) and kind not in ("pcm", "wav"):
            raise Refused(400, "BadRequestError", "Streaming requires response_format pcm or wav")
        if self.streams(asked) and asked.get("speed", 1) != 1:
            raise Refused(400, "BadRequestError", "speed must be 1 when streaming")

    def streams(self, asked: dict[str, Any]) -> bool:
        """Whether the answer comes in pieces."""
        by_format = self.version >= (0, 26) and asked.get("stream_format") in ("audio", "sse")
        return bool(asked.get("stream")) or by_format

    async def _speech(self, request: web.Request) -> web.StreamResponse:
        try:
            if request.content_type != "application/json":
                raise Refused(400, "Bad Request", "Unsupported Media Type: Only 'application/json'")
            try:
                asked = json.loads(await request.read())
            except ValueError:
                raise Refused(400, "Bad Request", "JSON decode error") from None
            if not isinstance(asked, dict):
                raise Refused(400, "Bad Request", "Input should be a valid dictionary")
            self.check(asked)
        except Refused as exc:
            return error(exc.status, exc.kind, exc.message, exc.param)
        if self.sleeping:
            return error(500, "InternalServerError", "The engine is asleep")
        kind = asked.get("response_format", "wav")
        blocks = tone(asked["input"])
        if not self.streams(asked):
            await self.pass_gate()
            body = self.encoded(kind, b"".join(blocks))
            headers = {"Content-Type": TYPES[kind], "X-VLLM-OMNI-OUTPUT-TOKENS": "42"}
            if self.encoding:
                headers["Content-Encoding"] = self.encoding
            return web.Response(body=body, headers=headers)
        if self.version >= (0, 26) and asked.get("stream_format") != "audio":
            return await self._events(request, kind, blocks)
        response = web.StreamResponse(headers={"Content-Type": TYPES[kind]})
        await response.prepare(request)
        if kind == "wav":
            await response.write(wav_header())
        for index, block in enumerate(blocks):
            if index:
                await self.pass_gate()
            await response.write(block)
        return response

    @staticmethod
    def encoded(kind: str, samples: bytes) -> bytes:
        """A real WAV or PCM; other formats are the samples behind a telling first word."""
        if kind == "wav":
            return wav_header(len(samples)) + samples
        return samples if kind == "pcm" else kind.encode() + b":" + samples

    async def _events(self, request: web.Request, kind: str, blocks: list[bytes]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for index, block in enumerate(blocks):
            if index:
                await self.pass_gate()
            await response.write(
                event("speech.audio.delta", {"audio": base64.b64encode(block).decode()})
            )
        usage = {"input_tokens": 3, "output_tokens": 42, "total_tokens": 45}
        await response.write(event("speech.audio.done", {"usage": usage}))
        return response

    async def _batch(self, request: web.Request) -> web.Response:
        asked = await request.json()
        shared = {key: value for key, value in asked.items() if key != "items"}
        results = []
        for index, item in enumerate(asked.get("items", [])):
            try:
                self.check(shared | item)
                audio = base64.b64encode(b"".join(tone(item["input"]))).decode()
                results.append({"index": index, "status": "success", "audio_data": audio})
            except Refused as exc:
                results.append({"index": index, "status": "error", "error": exc.message})
        good = sum(result["status"] == "success" for result in results)
        counts = {"total": len(results), "succeeded": good, "failed": len(results) - good}
        return web.json_response({"id": "batch-1", "results": results, **counts})

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        spoken = 0
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            said = json.loads(message.data)
            match said.get("type"):
                case "session.config":
                    continue
                case "input.text":
                    await socket.send_json({"type": "audio.start", "sentence_index": spoken})
                    for block in tone(said["text"]):
                        await socket.send_bytes(block)
                    await socket.send_json({"type": "audio.done", "sentence_index": spoken})
                    spoken += 1
                case "input.done":
                    await socket.send_json({"type": "session.done", "total_sentences": spoken})
                    break
                case other:
                    await socket.send_json({"type": "error", "message": f"Unknown type {other}"})
        await socket.close()
        return socket

    def half_answer(self, request: web.Request) -> tuple[str, bytes]:
        return "audio/wav", wav_header() + tone("half")[0]


def event(kind: str, value: dict[str, Any]) -> bytes:
    """One named event, as vLLM-Omni writes it."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind} | value)}\n\n".encode()


def error(status: int, kind: str, message: str, param: str | None = None) -> web.Response:
    """vLLM's error object; `code` is the status as a number."""
    value = {"message": message, "type": kind, "param": param, "code": status}
    return web.json_response({"error": value}, status=status)


def main() -> None:
    """`python -m tests.doubles.vllm_omni --port N [--can-sleep]`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--version", default="0.30")
    parser.add_argument("--can-sleep", action="store_true")
    arguments = parser.parse_args()
    major, _, minor = arguments.version.partition(".")

    async def run() -> None:
        double = VllmOmni((int(major), int(minor)), real_clock=True)
        double.can_sleep = arguments.can_sleep
        await serve(double, arguments.port)

    asyncio.run(run())


if __name__ == "__main__":
    main()
