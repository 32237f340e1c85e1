"""The doubles as processes of their own, steered over HTTP, and the truths they are built on."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.doubles.ollama import duration_s

ROOT = Path(__file__).parents[3]
MODEL = "qwen3:4b"


@asynccontextmanager
async def process(module: str, *arguments: str) -> AsyncIterator[str]:
    """The double's address; the process is killed at the end."""
    double = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert double.stdout is not None
    try:
        line = await asyncio.wait_for(double.stdout.readline(), 30)
        yield json.loads(line)["url"]
    finally:
        double.kill()
        await double.wait()


async def test_ollama_as_a_process() -> None:
    chat = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "keep_alive": "30s"}
    async with process("tests.doubles.ollama") as url, aiohttp.ClientSession(url) as session:
        await session.post("/v1/chat/completions", json=chat)
        await session.post("/_double/clock", json={"advance": 200})
        async with session.get("/api/ps") as answer:
            assert [one["name"] for one in (await answer.json())["models"]] == [MODEL], (
                "the compatible endpoint ignores keep_alive: the default of five minutes holds"
            )
        await session.post("/api/generate", json={"model": MODEL, "keep_alive": "30s"})
        await session.post("/v1/chat/completions", json=chat | {"keep_alive": "1h"})
        await session.post("/_double/clock", json={"advance": 31})
        async with session.get("/api/ps") as answer:
            assert (await answer.json())["models"] == [], "the native duration held on"
        fault = {"path": "/api/tags", "do": "status", "status": 500, "times": 1}
        await session.post("/_double/faults", json=fault)
        async with session.get("/api/tags") as answer:
            assert answer.status == 500
        async with session.get("/api/tags") as answer:
            assert answer.status == 200
        async with session.get("/_double/calls") as answer:
            calls = await answer.json()
        assert [call["path"] for call in calls[:2]] == ["/v1/chat/completions", "/api/ps"]


async def test_vllm_omni_as_a_process() -> None:
    async with (
        process("tests.doubles.vllm_omni", "--version", "0.22") as url,
        aiohttp.ClientSession(url) as session,
    ):
        async with session.head("/health") as answer:
            assert answer.status == 405
        async with session.post("/v1/audio/speech", json={"input": "a", "model": "x"}) as answer:
            assert answer.status == 404 and (await answer.json())["error"]["code"] == 404
        async with session.post("/v1/audio/speech", json={"input": "a"}) as answer:
            assert (await answer.read())[:4] == b"RIFF"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (30, 30),
        (0, 0),
        (-1, float("inf")),
        ("5m", 300),
        ("1h30m", 5400),
        ("-1s", float("inf")),
        ("0", 0),
    ],
)
def test_durations(value: object, seconds: float) -> None:
    assert duration_s(value) == seconds


@pytest.mark.parametrize("value", ["-1", "300", "soon", "", True, [], {"a": 1}])
def test_what_is_no_duration(value: object) -> None:
    with pytest.raises(ValueError, match=r"time:|Unsupported"):
        duration_s(value)
