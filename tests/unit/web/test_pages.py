"""Pages and their files: types, policy, caching, and no way out of the folder."""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files

import pytest

from aistack.web import pages
from aistack.web.pages import HEADERS, TYPES, folder, security_headers
from tests.doubles.web import get, serving

STATIC = files("aistack.web") / "static"
INLINE = re.compile(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=|javascript:", re.IGNORECASE)
ELSEWHERE = re.compile(r"""(?:src|href|action)\s*=\s*["']?(?:https?:)?//""", re.IGNORECASE)


async def test_a9_docs_is_a_page() -> None:
    async with serving() as served:
        said = await served.say(get("/docs"))
        assert (said.status, said.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert b"swagger-ui-bundle.js" in said.body
        for name, value in HEADERS.items():
            assert said.headers[name.lower()] == value
        assert said.headers["cache-control"] == "no-cache"
        assert (await served.say(get("/docs/"))).status == 404


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/docs/init.js", "text/javascript; charset=utf-8"),
        ("/docs/docs.css", "text/css; charset=utf-8"),
        ("/docs/swagger/swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
        ("/docs/swagger/swagger-ui.css", "text/css; charset=utf-8"),
    ],
)
async def test_files_come_with_their_type_and_are_not_sent_twice(path: str, kind: str) -> None:
    async with serving() as served:
        said = await served.say(get(path))
        assert (said.status, said.headers["content-type"]) == (200, kind)
        assert said.headers["x-content-type-options"] == "nosniff"
        tag = said.headers["etag"]
        for known in (tag, f'"other", W/{tag}', "*"):
            again = await served.say(get(path, If_None_Match=known))
            assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
        assert (await served.say(get(path, If_None_Match='"other"'))).status == 200
        head = await served.say(get(path, "HEAD"))
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == str(len(said.body))


@pytest.mark.parametrize(
    "path",
    [
        "/docs/none.js",
        "/docs/../pages.py",
        "/docs/..%2f..%2fpages.py",
        "/docs/%2e%2e/%2e%2e/pages.py",
        "/docs/swagger/LICENSE",
        "/docs/swagger//swagger-ui.css",
        "/docs/index.html/",
    ],
)
async def test_nothing_else_is_served(path: str) -> None:
    async with serving() as served:
        said = await served.say(get(path))
        assert (said.status, said.error["code"]) == (404, "not_found")


def test_the_policy_allows_no_inline_script_and_nobody_else() -> None:
    policy = HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert not re.search(r"https?:|\*", policy)


def test_a_directive_can_be_replaced() -> None:
    policy = security_headers(style_src="'self' 'unsafe-inline'")["Content-Security-Policy"]
    assert "style-src 'self' 'unsafe-inline'" in policy
    assert policy.count("style-src") == 1


def test_our_own_pages_keep_to_the_policy() -> None:
    pages_ = [page for page in STATIC.iterdir() if page.is_dir() and page.name != "swagger"]
    found = 0
    for page in pages_:
        for name, asset in folder(page.name).items():
            if name.endswith(".html"):
                found += 1
                text = asset.body.decode()
                assert not INLINE.search(text), name
                assert not ELSEWHERE.search(text), name
    assert found


def test_swagger_ui_is_as_it_came_with_its_licences() -> None:
    swagger = STATIC / "swagger"
    told = (swagger / "VERSION").read_text(encoding="utf-8")
    lines = [line.split() for line in told.splitlines() if re.match("[0-9a-f]{64} ", line)]
    digests = {name: digest for digest, name in lines}
    assert set(digests) == {"swagger-ui-bundle.js", "swagger-ui.css"}
    for name, digest in digests.items():
        assert hashlib.sha256((swagger / name).read_bytes()).hexdigest() == digest
    assert "Apache License" in (swagger / "LICENSE").read_text(encoding="utf-8")
    assert "SmartBear" in (swagger / "NOTICE").read_text(encoding="utf-8")


def test_every_file_has_a_type_or_is_no_page() -> None:
    assert set(folder("docs")) == {"index.html", "init.js", "docs.css"}
    assert {name.rpartition(".")[2] for name in folder("swagger")} <= set(TYPES)
    assert folder("docs") is pages.folder("docs")
