"""The watch on pages sees what it must see; without that, every `clean()` would be worth nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from playwright.async_api import Browser, expect

from tests.browser.browser import opened

pytestmark = pytest.mark.timeout(900)  # a fresh machine installs the browser first
POLICY = "default-src 'none'; script-src 'self'; img-src 'self' http://elsewhere.test"
SCRIPT = """
const told = document.querySelector("p");
const kind = location.hash.slice(1);
if (kind === "throws") setTimeout(() => { throw new Error("on purpose"); });
if (kind === "console") console.error("on purpose");
if (kind === "inline") document.body.append(
  Object.assign(document.createElement("script"), { textContent: "x()" }));
if (kind === "outside") document.body.append(
  Object.assign(new Image(), { src: "http://elsewhere.test/a.png" }));
told.textContent = "ran";
"""


@pytest.fixture
async def origin() -> AsyncIterator[str]:
    async def page(request: web.Request) -> web.Response:
        body = "<!doctype html><title>t</title><link rel=icon href=data:,><p>not yet</p>"
        body += "<script src=/a.js defer></script>"
        return web.Response(
            text=body, content_type="text/html", headers={"Content-Security-Policy": POLICY + " data:"}
        )

    async def script(request: web.Request) -> web.Response:
        return web.Response(text=SCRIPT, content_type="text/javascript")

    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_get("/a.js", script)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_a_page_that_behaves_is_clean(browser: Browser, origin: str) -> None:
    async with opened(browser, origin) as watched:
        await watched.page.goto(origin)
        await expect(watched.page.get_by_text("ran")).to_be_visible()
        watched.clean()


@pytest.mark.parametrize(
    ("kind", "event", "seen"),
    [
        ("throws", "pageerror", "uncaught: on purpose"),
        ("console", "console", "on purpose"),
        ("inline", "console", "Content Security Policy"),
        ("outside", "requestfailed", "http://elsewhere.test/a.png"),
    ],
)
async def test_what_must_not_happen_is_seen(
    browser: Browser, origin: str, kind: str, event: Any, seen: str
) -> None:
    async with opened(browser, origin) as watched:
        async with watched.page.expect_event(event):
            await watched.page.goto(f"{origin}/#{kind}")
        assert seen in "\n".join([*watched.errors, *watched.outside])
        with pytest.raises(AssertionError):
            watched.clean()
