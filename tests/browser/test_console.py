"""The console in a real browser, against the real service: what an operator and a new user do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.browser import chromium, opened
from tests.browser.console import BOUND_MS, SHORT, choose, clean, hear, lecture, service, show
from tests.doubles.upstreams import Upstreams
from tests.e2e.conftest import command
from tests.e2e.server import Server, serving
from tests.support.listening import SPOKEN, plain

pytestmark = pytest.mark.timeout(900)  # a fresh machine installs the browser first
VIEWS = ("overview", "playground", "models", "logs", "settings")
UPLOAD = "/v1/audio/transcriptions"


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[Server, Upstreams]]:
    with service() as both:
        yield both


@pytest.fixture
def server(both: tuple[Server, Upstreams]) -> Server:
    return both[0]


# --- the whole way -----------------------------------------------------------------------------------


async def test_a194_upload_watch_cancel_and_swap(
    browser: Browser, server: Server, tmp_path: Path
) -> None:
    async with opened(browser, server.url) as watched:
        page = await show(watched)
        await expect(page).to_have_title("aistack admin")
        await expect(page.locator("#health-text")).to_have_text("Idle")
        await choose(page, "playground")
        await a_file_is_heard(page)
        await a_long_one_is_watched_and_cancelled(page, server, lecture(tmp_path))
        await a_model_is_swapped(page)
        clean(watched, UPLOAD)


async def a_file_is_heard(page: Page) -> None:
    await hear(page, SHORT, model="whisper-small")
    await expect(page.locator("#hear-note")).to_have_text("Done")
    words = await page.locator("#heard .word").all_inner_texts()
    assert plain(" ".join(words)) == plain(SPOKEN["digits-en.wav"]["text"])
    starts = [
        float(await word.get_attribute("data-start") or "") for word in await page.locator(".word").all()
    ]
    assert starts == sorted(starts)
    await expect(page.get_by_role("img", name="Waveform")).to_be_visible()
    assert await page.evaluate(DRAWN), "the waveform is empty"
    await expect(page.locator(".facts")).to_contain_text("whisper-small")


DRAWN = """() => { const c = document.getElementById("wave");
  const data = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
  return data.some((value) => value !== 0); }"""


async def a_long_one_is_watched_and_cancelled(page: Page, server: Server, file: Path) -> None:
    cancelled = len(server.log.find("job.done", outcome="cancelled"))
    await hear(page, file, model="whisper-small")
    await expect(page.locator(".segment").nth(1)).to_be_visible()
    await expect(page.locator("#hear-stop")).to_be_enabled()
    await choose(page, "overview")
    slot = page.locator("#slots .slot")
    await expect(slot).to_have_attribute("data-state", "streaming")
    await expect(slot).to_contain_text("Speech to text whisper-small")
    await expect(page.locator("#timeline svg .streaming").first).to_be_visible()
    await choose(page, "playground")
    await page.get_by_role("button", name="Cancel").first.click()
    await expect(page.locator("#hear-note")).to_have_text("Cancelled")
    server.log.wait("job.done", count=cancelled + 1, outcome="cancelled")
    await choose(page, "overview")
    await expect(slot).to_have_attribute("data-state", "idle")
    await expect(page.locator("#health-text")).to_have_text("Idle")


async def a_model_is_swapped(page: Page) -> None:
    await choose(page, "models")
    small, digits = (
        page.locator("#models tr", has_text=name) for name in ("whisper-small", "org/digits")
    )
    await page.get_by_role("button", name="Load org/digits", exact=True).click()
    await expect(digits.locator(".badge")).to_have_text("loaded")
    await expect(small.locator(".badge")).to_have_text("not loaded")
    await page.get_by_role("button", name="Load whisper-small", exact=True).click()
    await expect(small.locator(".badge")).to_have_text("loaded")
    await expect(digits.locator(".badge")).to_have_text("not loaded")
    await page.get_by_role("button", name="Unload whisper-small").click()
    await expect(small.locator(".badge")).to_have_text("not loaded")
    await choose(page, "overview")
    await expect(page.locator("#slots")).to_contain_text("No model in memory")
    await page.get_by_text("Recent jobs as a table").click()
    rows = page.locator("#jobs tbody tr")
    await expect(rows.nth(0)).to_contain_text("Unload")
    await expect(rows.nth(1)).to_contain_text("Load")
    await expect(rows.nth(2)).to_contain_text("Load")
    await expect(rows.nth(3)).to_contain_text("cancelled")


# --- chat, speech, microphone ------------------------------------------------------------------------


async def test_chat_and_speech(browser: Browser, server: Server) -> None:
    async with opened(browser, server.url) as watched:
        page = await show(watched, "playground")
        await page.get_by_role("tab", name="Chat").click()
        await page.get_by_label("Message").fill("Hello")
        await expect(page.get_by_role("button", name="Send")).to_be_enabled()
        await page.get_by_label("Message").press("Enter")
        answer = page.locator(".turn[data-role=assistant]")
        await expect(answer).to_contain_text("Hello there, how are you?")
        await page.get_by_role("tab", name="Text to speech").click()
        await page.locator("#speak-format").select_option("wav")
        await page.get_by_role("button", name="Speak", exact=True).click()
        await expect(page.locator("#speak-note")).to_contain_text("First audio after")
        await expect(page.locator("#speak-audio")).to_be_visible()
        await page.wait_for_function(
            "document.getElementById('speak-audio').duration > 0.5", timeout=BOUND_MS
        )
        clean(watched)


async def test_what_the_microphone_hears_is_transcribed(server: Server) -> None:
    pretend = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    async with chromium(*pretend) as browser, opened(browser, server.url) as watched:
        page = await show(watched, "playground")
        await page.get_by_role("button", name="Record").click()
        await expect(page.locator("#record-hint")).to_contain_text("Recording, 1 s")
        await page.get_by_role("button", name="Stop recording").click()
        await expect(page.locator("#chosen")).to_contain_text("recording.webm")
        await page.get_by_role("button", name="Transcribe", exact=True).click()
        await expect(page.locator("#hear-note")).to_have_text("Done")
        clean(watched)


# --- the log -----------------------------------------------------------------------------------------


async def test_the_log_is_followed_and_filtered(browser: Browser, server: Server) -> None:
    async with opened(browser, server.url) as watched:
        page = await show(watched, "logs")
        shown = page.locator("#logs .logline:visible")
        await expect(shown.first).to_be_visible()
        asked = await watched.context.request.get(
            server.url + "/v1/nothing", headers={"X-Request-ID": "find-me"}
        )
        assert asked.status == 404
        await page.get_by_label("Find").fill("find-me")
        await expect(shown).to_have_count(1)
        await expect(shown).to_contain_text("/v1/nothing")
        await page.get_by_label("Level").select_option("error")
        await expect(shown).to_have_count(0)
        await page.get_by_label("Find").fill("")
        await page.get_by_label("Level").select_option("debug")
        assert await page.locator(".logline", has_text="method=GET path=/admin").count() == 0, (
            "it watches itself"
        )
        clean(watched)


# --- keys, a server that goes away -------------------------------------------------------------------


async def test_the_page_asks_for_the_key_and_keeps_it(browser: Browser) -> None:
    with serving(environ={"AISTACK_SERVER__API_KEYS": "right"}) as server:
        async with opened(browser, server.url) as watched:
            page = watched.page
            await page.goto(server.url + "/admin")
            dialog = page.get_by_role("dialog")
            await expect(dialog).to_be_visible()
            for key in ("wrong", "right"):
                await page.get_by_label("API key").fill(key)
                await dialog.get_by_role("button", name="Continue").click()
                if key == "wrong":
                    await expect(dialog).to_contain_text("not accepted")
            await expect(page.locator("#health-text")).to_have_text("Idle")
            await expect(dialog).to_be_hidden()
            await page.reload()
            await expect(page.locator("#health-text")).to_have_text("Idle")
            await expect(dialog).to_be_hidden()
            assert "right" not in "".join(request.url for request in watched.requests)
            # A 401 is told on the browser's console; nothing else may be.
            watched.errors = [line for line in watched.errors if "401 (Unauthorized)" not in line]
            clean(watched)
            other = await watched.context.new_page()
            await other.goto(server.url + "/admin")
            await expect(other.get_by_role("dialog")).to_be_visible()


async def test_a_server_that_is_gone(browser: Browser) -> None:
    with serving() as server:
        async with opened(browser, server.url) as watched:
            page = await show(watched)
            assert server.stop() == 0
            await expect(page.get_by_role("alert").first).to_contain_text("does not answer")
            await expect(page.locator("#health-text")).to_have_text("No connection")
            assert watched.outside == []


# --- for everybody -----------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
async def test_nothing_hangs_over_the_edge(browser: Browser, server: Server, width: int) -> None:
    async with opened(browser, server.url, viewport={"width": width, "height": 800}) as watched:
        page = await show(watched)
        for view in VIEWS:
            await choose(page, view)
            over = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert over <= 0, f"{view} is {over} px too wide"
        clean(watched)


async def test_by_keyboard_alone(browser: Browser, server: Server) -> None:
    async with opened(browser, server.url) as watched:
        page = await show(watched)
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
        for name in ("Overview", "Playground"):
            await page.keyboard.press("Tab")
            await expect(page.get_by_role("link", name=name)).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.locator("#view-playground")).to_be_visible()
        await expect(page.locator("#main")).to_be_focused()
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("tab", name="Speech to text")).to_be_focused()
        await page.keyboard.press("ArrowRight")
        await expect(page.get_by_role("tab", name="Chat")).to_be_focused()
        await expect(page.get_by_role("tabpanel", name="Chat")).to_be_visible()
        await page.keyboard.press("ArrowLeft")
        await expect(page.get_by_role("tabpanel", name="Speech to text")).to_be_visible()
        clean(watched)


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """axe-core from npm, as source."""
    if shutil.which("npm") is None:
        command("apt-get", "update", "-qq")
        command("apt-get", "install", "-qq", "-y", "--no-install-recommends", "nodejs", "npm")
    folder = tmp_path_factory.mktemp("axe")
    command(
        "npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), "axe-core@4", cwd=folder
    )
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_accessible(browser: Browser, server: Server, axe: str, scheme: Any) -> None:
    async with opened(browser, server.url, color_scheme=scheme, reduced_motion="reduce") as watched:
        page = await show(watched)
        await page.evaluate(axe)
        for view in VIEWS:
            await choose(page, view)
            found = await page.evaluate(
                "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice']})"
            )
            wrong = [
                (rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found["violations"]
            ]
            assert wrong == [], json.dumps(wrong, indent=1)
