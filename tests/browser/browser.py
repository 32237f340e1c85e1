"""A real browser for tests: Debian's Chromium, headless, driven by Playwright, with no way out.

Every page is watched: console errors, uncaught exceptions, violations of the content security policy,
failed requests and requests to another host are kept, and `Watched.clean()` fails on any of them.

    async def test_a_page(browser: Browser) -> None:
        async with opened(browser, "http://127.0.0.1:11500") as watched:
            await watched.page.goto(watched.origin + "/docs")
            await expect(watched.page.get_by_text("aistack")).to_be_visible()
            watched.clean()
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, async_playwright

BOUND_S = 30.0
"""Seconds after which whatever a page is waited for has failed."""
INSTALL_S = 600
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",  # tests run as root in containers
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)
IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
_TELL_VIOLATIONS = """document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy violated: ${event.violatedDirective} ${event.blockedURI}`));"""


def executable() -> str:
    """The path of Chromium; where we may, it is installed first."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is not None:
        return found
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip("chromium not installed")
    apt = ("apt-get", "-o", f"DPkg::Lock::Timeout={INSTALL_S}", "-qq")
    for command in (("update",), ("install", "-y", "--no-install-recommends", "chromium")):
        done = subprocess.run(
            (*apt, *command), capture_output=True, text=True, timeout=INSTALL_S, check=False
        )
        assert done.returncode == 0, f"apt-get {command[0]} failed:\n{done.stderr[-2000:]}"
    return executable()


@asynccontextmanager
async def chromium(*more: str) -> AsyncIterator[Browser]:
    """A browser with an empty profile; `more` are further flags of its command line."""
    # Chromium puts its sockets and crash reports below HOME: never into somebody's own.
    with tempfile.TemporaryDirectory(prefix="aistack_browser_", ignore_cleanup_errors=True) as home:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=executable(),
                args=[*FLAGS, *more],
                env={**os.environ, "HOME": home},
                timeout=BOUND_S * 1000,
            )
            try:
                yield browser
            finally:
                await browser.close()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A browser for one test."""
    async with chromium() as found:
        yield found


class Watched:
    """One page, and everything about it that should not happen."""

    def __init__(self, context: BrowserContext, page: Page, origin: str) -> None:
        self.context = context
        self.page = page
        self.origin = origin
        self.errors: list[str] = []
        """Console errors and warnings, exceptions, policy violations, in the order they came."""
        self.failed: list[str] = []
        """Requests that got no answer."""
        self.outside: list[str] = []
        """Requests to any other host."""
        self.requests: list[Request] = []
        """All requests."""
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.errors.append(f"uncaught: {error}"))
        page.on("request", self._request)
        page.on("requestfailed", lambda request: self.failed.append(f"{request.url} {request.failure}"))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            where = message.location
            self.errors.append(f"{message.text} ({where.get('url')}:{where.get('lineNumber')})")

    def _request(self, request: Request) -> None:
        self.requests.append(request)
        parts = urlsplit(request.url)
        if parts.scheme in ("data", "blob"):
            return
        if f"{parts.scheme}://{parts.netloc}" != self.origin:
            self.outside.append(request.url)

    def clean(self) -> None:
        """Nothing went wrong so far, and nobody else was asked."""
        assert self.errors == []
        assert self.failed == []
        assert self.outside == []

    async def picture(self, name: str, **how: Any) -> None:
        """Save what is seen as docs/images/<name>.png, if `AISTACK_PICTURES` is set.

        The pictures differ from machine to machine (fonts), so a plain run leaves the tree alone.
        """
        if os.environ.get("AISTACK_PICTURES"):
            IMAGES.mkdir(parents=True, exist_ok=True)
            await self.page.screenshot(path=IMAGES / f"{name}.png", animations="disabled", **how)


@asynccontextmanager
async def opened(browser: Browser, origin: str, **options: Any) -> AsyncIterator[Watched]:
    """An empty page in a profile of its own, watched. `origin` is `http://host:port`.

    `options` are those of Playwright's `Browser.new_context` (viewport, color_scheme, permissions,
    reduced_motion, extra_http_headers, ...).
    """
    context = await browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
    context.set_default_timeout(BOUND_S * 1000)
    await context.add_init_script(_TELL_VIOLATIONS)
    try:
        yield Watched(context, await context.new_page(), origin)
    finally:
        await context.close()
