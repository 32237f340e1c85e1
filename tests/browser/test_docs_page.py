"""/docs in a real browser: no error, nobody else is asked, and trying out works."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Locator, expect

from aistack.web.operations import EVERY
from tests.browser.browser import Watched, opened
from tests.e2e.server import TINY
from tests.http.gateway.service import Service, running

pytestmark = pytest.mark.timeout(900)  # a fresh machine installs the browser first
AUDIO = Path(__file__).parents[1] / "data" / "audio"
KEY = "a-key-for-the-test"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Behind a key, with the tiny Whisper; nobody answers for the relays."""
    nobody = {"url": "http://127.0.0.1:9"}
    with running(
        tmp_path_factory.mktemp("docs"),
        relays=True,
        server={"api_keys": (KEY,)},
        models={"local": {"whisper-small": str(TINY)}},
        ollama=nobody,
        qwen_tts=nobody,
    ) as service:
        yield service


def origin(service: Service) -> str:
    return f"http://127.0.0.1:{service.port}"


async def shown(watched: Watched) -> None:
    """The page, with every operation on it."""
    await watched.page.goto(watched.origin + "/docs")
    await expect(watched.page.locator(".opblock")).to_have_count(sum(each.shown for each in EVERY))


async def unfold(watched: Watched, method: str, path: str) -> Locator:
    """One operation, open for trying out."""
    block = watched.page.locator(f".opblock-{method}").filter(
        has=watched.page.locator(f'[data-path="{path}"]')
    )
    await block.locator(".opblock-summary-control").click()
    return block


async def answer(block: Locator) -> tuple[str, Any]:
    """Press Execute; the status and the body that the page then shows."""
    await block.locator("button.execute").click()
    live = block.locator(".live-responses-table .response")
    status = await live.locator(".response-col_status").inner_text()
    body = await live.locator(".highlight-code code").first.inner_text()
    return status.split()[0], json.loads(body)


async def test_a9_it_describes_every_endpoint_and_asks_nobody_else(
    browser: Browser, service: Service
) -> None:
    async with opened(browser, origin(service)) as watched:
        await shown(watched)
        paths = set(
            await watched.page.locator("[data-path]").evaluate_all("all => all.map(e => e.dataset.path)")
        )
        assert {each.path for each in EVERY if each.shown and "{" not in each.path} <= paths
        assert {"/v1/models/{id}", "/v1/audio/{path}"} <= paths
        await expect(watched.page.get_by_text("OAS 3.1")).to_be_visible()
        asked = {request.url.removeprefix(watched.origin) for request in watched.requests}
        assert asked - {"data:,"} >= {"/docs", "/docs/init.js", "/openapi.json"}
        watched.clean()
        await watched.picture("docs")


@pytest.mark.parametrize(
    ("method", "path", "media"),
    [
        ("post", "/v1/audio/transcriptions", "text/event-stream"),
        ("post", "/v1/chat/completions", "text/event-stream"),
        ("get", "/v1/audio/speech/stream", ""),
        ("post", "/generate", "text/event-stream"),
    ],
)
async def test_an_operation_shows_what_it_answers(
    browser: Browser, service: Service, method: str, path: str, media: str
) -> None:
    async with opened(browser, origin(service)) as watched:
        await shown(watched)
        block = await unfold(watched, method, path)
        await expect(block.locator(".responses-table .response").first).to_be_visible()
        if media:
            good = block.locator('.response[data-code="200"]')
            await good.locator("select").first.select_option(media)
            await expect(good.locator(".model-example")).to_be_visible()
        await expect(block.locator('.response[data-code="503"]')).to_contain_text("slot_busy")
        assert await watched.page.get_by_text("Could not resolve reference").count() == 0
        watched.clean()


async def test_a_file_can_be_transcribed_with_the_key(browser: Browser, service: Service) -> None:
    async with opened(browser, origin(service)) as watched:
        await shown(watched)
        block = await unfold(watched, "post", "/v1/audio/transcriptions")
        await block.locator('input[type="file"]').set_input_files(AUDIO / "digits-en.wav")
        await block.locator('[data-property-name="model"] input[type="text"]').fill("whisper-small")
        status, refused = await answer(block)
        assert (status, refused["error"]["code"]) == ("401", "unauthorized")
        assert all("401" in each for each in watched.errors)
        watched.errors.clear()
        await watched.page.locator(".btn.authorize").first.click()
        scheme = watched.page.locator(".auth-container").filter(has_text="bearer")
        await scheme.locator("input").fill(KEY)
        await scheme.locator("button.authorize").click()
        await watched.page.locator(".btn-done").first.click()
        await block.locator("button.btn-clear").click()
        status, heard = await answer(block)
        assert status == "200"
        assert heard["text"]
        watched.clean()
        # The key stays in this browser: the page is loaded anew, and still knows it.
        await shown(watched)
        block = await unfold(watched, "get", "/v1/models")
        status, listed = await answer(block)
        assert (status, listed["object"]) == ("200", "list")
        watched.clean()
