"""What the tests of the console share: a real service, sounds, and what a page may say at its end."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Page, expect

from tests.browser.browser import Watched
from tests.doubles.upstreams import Upstreams
from tests.e2e.server import AUDIO, Server, serving

BOUND_MS = 60_000
"""Whatever is waited for, on whatever machine."""
SHORT = AUDIO / "digits-en.wav"
LONG = AUDIO / "digits-en-long.wav"

expect.set_options(timeout=BOUND_MS)


@contextmanager
def service(**environ: str) -> Iterator[tuple[Server, Upstreams]]:
    """`aistack serve` with the tiny Whisper, the embedded voice, and an Ollama's double."""
    upstreams = Upstreams()
    try:
        told = {"AISTACK_OLLAMA__URL": upstreams.ollama.url, **environ}
        with serving(fake=False, environ=told) as server:
            yield server, upstreams
    finally:
        upstreams.close()


def lecture(folder: Path, times: int = 40) -> Path:
    """The long recording `times` over, about a minute each: work for long enough to be watched."""
    path = folder / "lecture.wav"
    with wave.open(str(LONG)) as source:
        frames, kind = source.readframes(source.getnframes()), source.getparams()
    body = io.BytesIO()
    with wave.open(body, "wb") as target:
        target.setparams(kind)
        for _ in range(times):
            target.writeframes(frames)
    path.write_bytes(body.getvalue())
    return path


async def show(watched: Watched, view: str = "overview") -> Page:
    """The page, opened at one of its views, once it has heard from the server."""
    page = watched.page
    await page.goto(f"{watched.origin}/admin#{view}")
    await expect(page.locator("#foot")).to_contain_text("aistack")
    return page


async def choose(page: Page, view: str) -> None:
    """Another view, by its link."""
    await page.locator(f".tabs a[href='#{view}']").click()
    await expect(page.locator(f"#view-{view}")).to_be_visible()


async def hear(page: Page, file: Path, **fields: Any) -> None:
    """Begin to transcribe a file in the playground."""
    await page.locator("#file").set_input_files(file)
    for name, value in fields.items():
        await page.locator(f"#hear-{name}").select_option(value)
    await page.get_by_role("button", name="Transcribe", exact=True).click()


def clean(watched: Watched, *left: str) -> None:
    """Nothing went wrong; but requests whose address holds one of `left` may have been left by us."""
    # A player drops the load of the file it played before.
    left = ("blob:", *left)
    watched.failed = [
        line
        for line in watched.failed
        if not ("ERR_ABORTED" in line and any(part in line for part in left))
    ]
    watched.clean()
