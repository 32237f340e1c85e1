"""What the console looks like in use: idle, busy with a line, a finished transcript, in both schemes.

`AISTACK_PICTURES=1 pytest tests/browser/test_console_pictures.py` saves them in docs/images.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Browser, expect

from tests.browser.browser import opened
from tests.browser.console import SHORT, choose, clean, hear, lecture, service, show
from tests.doubles.upstreams import MODEL
from tests.e2e.server import AUDIO, Server

pytestmark = pytest.mark.timeout(900)  # a fresh machine installs the browser first
WAIT = {"Prefer": "wait=300"}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with service() as (server, _):
        yield server


class Callers:
    """Clients beside the browser."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def _answer(self, path: str, **what: Any) -> int:
        async with self.session.post(path, headers=WAIT, **what) as response:
            await response.read()
            return response.status

    async def transcribe(self, file: Path, model: str = "whisper-small", **more: str) -> int:
        form = aiohttp.FormData({"model": model, **more})
        sound = await asyncio.to_thread(file.read_bytes)
        form.add_field("file", sound, filename=file.name)
        return await self._answer("/v1/audio/transcriptions", data=form)

    async def chat(self) -> int:
        asked = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "stream": True}
        return await self._answer("/v1/chat/completions", json=asked)

    async def speak(self) -> int:
        asked = {"model": "tts-1", "input": "The quick brown fox. " * 40, "voice": "alloy"}
        return await self._answer("/v1/audio/speech", json=asked)


@asynccontextmanager
async def callers(server: Server) -> AsyncIterator[Callers]:
    async with aiohttp.ClientSession(server.url) as session:
        yield Callers(session)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_busy_with_a_line_then_idle(
    browser: Browser, server: Server, tmp_path: Path, scheme: Any
) -> None:
    size = {"width": 1280, "height": 1000}
    async with (
        callers(server) as others,
        opened(
            browser, server.url, color_scheme=scheme, viewport=size, reduced_motion="reduce"
        ) as watched,
    ):
        page = await show(watched)
        await page.locator("#spans").get_by_text("1 min", exact=True).click()
        for _ in range(2):
            assert await others.transcribe(SHORT) == 200
            assert await others.chat() == 200
            assert await others.speak() == 200
            assert await others.transcribe(AUDIO / "digits-de.wav", "org/digits", language="de") == 200
        await choose(page, "playground")
        await hear(page, lecture(tmp_path), model="whisper-small")
        await expect(page.locator(".segment").nth(1)).to_be_visible()
        await choose(page, "overview")
        async with asyncio.TaskGroup() as tasks:
            waiting = []
            before = len(server.log.find("job.transition", to="waiting"))
            for work in (others.transcribe(SHORT), others.chat(), others.speak()):
                waiting.append(tasks.create_task(work))
                count = before + len(waiting)
                await asyncio.to_thread(server.log.wait, "job.transition", count, to="waiting")
            await expect(page.locator("#line-count")).to_have_text("3")
            await expect(page.locator("#slots .slot")).to_have_attribute("data-state", "streaming")
            await expect(page.get_by_role("progressbar")).to_be_visible()
            await expect(page.locator("#line li")).to_have_count(3)
            await expect(page.locator("#line li").nth(1)).to_contain_text(f"Chat · {MODEL}")
            # Those of the run before may still be shown.
            await expect(page.locator("#timeline svg .waiting").nth(2)).to_be_visible()
            await watched.picture(f"console-busy-{scheme}")
            await choose(page, "playground")
            await page.get_by_role("button", name="Cancel").first.click()
            assert await asyncio.wait_for(asyncio.gather(*waiting), 60) == [200] * 3
        await choose(page, "overview")
        await expect(page.locator("#line")).to_contain_text("The queue is empty.")
        await expect(page.locator("#health-text")).to_have_text("Idle")
        for capability in ("asr", "tts", "llm"):
            await expect(page.locator(f"#figures [data-cap={capability}]")).to_be_visible()
        await expect(page.locator("#rate svg .c-llm").first).to_be_visible()
        await watched.picture(f"console-idle-{scheme}")
        clean(watched, "/v1/audio/transcriptions")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_finished_transcript(browser: Browser, server: Server, scheme: Any) -> None:
    async with opened(browser, server.url, color_scheme=scheme, reduced_motion="reduce") as watched:
        page = await show(watched, "playground")
        await hear(page, AUDIO / "digits-en-long.wav", model="whisper-small")
        await expect(page.locator("#hear-note")).to_have_text("Done")
        await page.locator("#heard").evaluate("(box) => { box.scrollTop = 0; }")
        await expect(page.locator("#health-text")).to_have_text("Idle")
        await watched.picture(f"console-playground-{scheme}")
        clean(watched)


async def test_on_a_telephone(browser: Browser, server: Server) -> None:
    size = {"width": 390, "height": 844}
    async with opened(browser, server.url, viewport=size, reduced_motion="reduce") as watched:
        page = await show(watched, "playground")
        await hear(page, SHORT, model="whisper-small")
        await expect(page.locator("#hear-note")).to_have_text("Done")
        await page.locator("#h-heard").scroll_into_view_if_needed()
        await watched.picture("console-narrow")
        clean(watched)
