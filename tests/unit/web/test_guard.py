"""The browser guard's tables of cases, and addresses."""

from __future__ import annotations

import pytest

from aistack.config import Config, ServerSection
from aistack.service.app import own_names
from aistack.web.guard import host_allowed, key_accepted, listed, needs_key, origin_allowed, split_host

OWN = frozenset({"gpu.example.com", "box.corp.example"})


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        (None, True),
        ("127.0.0.1:11500", True),
        ("192.168.1.7", True),
        ("[::1]:11500", True),
        ("[fe80::1]", True),
        ("localhost:11500", True),
        ("LOCALHOST", True),
        ("localhost.", True),
        ("gpubox", True),
        ("gpubox.local:11500", True),
        ("gpubox.lan", True),
        ("gpu.internal", True),
        ("x.home.arpa", True),
        ("gpu.example.com", True),
        ("GPU.Example.Com.:443", True),
        ("example.com", False),
        ("evil.gpu.example.com", False),
        ("evilgpu.example.com", False),
        ("evil.example:11500", False),
        ("127.0.0.1.nip.io", False),
        ("local.evil.example", False),
        ("lan.evil", False),
        ("127.0.0.1.", True),
        ("0x7f.1", False),
    ],
)
def test_hosts(host: str | None, allowed: bool) -> None:
    assert host_allowed(host, OWN) is allowed


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        (None, "anything", True),
        ("http://127.0.0.1:11500", "127.0.0.1:11500", True),
        ("http://localhost:11500", "127.0.0.1:11500", False),
        ("http://gpubox.lan", "gpubox.lan:80", True),
        ("https://gpubox.lan", "gpubox.lan:443", True),
        ("https://gpubox.lan", "gpubox.lan", True),
        ("http://gpubox.lan:8080", "gpubox.lan", False),
        ("http://[::1]:11500", "[::1]:11500", True),
        ("HTTP://GPUBOX:11500", "gpubox:11500", True),
        ("http://evil.example", "127.0.0.1:11500", False),
        ("http://127.0.0.1:11500.evil.example", "127.0.0.1:11500", False),
        ("null", "127.0.0.1:11500", False),
        ("", "127.0.0.1:11500", False),
        ("file://", "127.0.0.1:11500", False),
        ("chrome-extension://abc", "abc", False),
        ("http://127.0.0.1:11500", None, False),
        ("https://app.example", "127.0.0.1:11500", True),
        ("https://app.example:444", "127.0.0.1:11500", False),
        ("http://app.example", "127.0.0.1:11500", False),
        ("http://[bad", "127.0.0.1:11500", False),
    ],
)
def test_origins(origin: str | None, host: str | None, allowed: bool) -> None:
    assert origin_allowed(origin, host, ["https://app.example"]) is allowed


def test_a_star_and_the_word_null_can_be_configured() -> None:
    assert listed("https://any.example", ["*"])
    assert origin_allowed("null", "127.0.0.1", ["null"])
    assert not listed("https://any.example", [])


def test_no_key_is_accepted_where_none_is_configured_or_sent() -> None:
    assert not key_accepted(None, ("k",))
    assert not key_accepted("Bearer k", ())
    assert key_accepted("Bearer k", ("a", "k"))


def test_paths_behind_a_key() -> None:
    assert [needs_key(path) for path in ("/v1/x", "/metrics", "/admin/api/x")] == [True] * 3
    assert [needs_key(path) for path in ("/health", "/docs", "/admin/static/app.js", "/v1")] == [
        False
    ] * 4


def test_a1_the_default_address() -> None:
    assert Config().server.listen == ("127.0.0.1:11500",)


def test_own_names_are_the_listened_and_configured_ones_too() -> None:
    names = own_names(
        Config(server=ServerSection(listen=("gpu.example.com:1",), allowed_hosts=("B.example",)))
    )
    assert {"gpu.example.com", "b.example"} <= names


def test_split_host() -> None:
    assert split_host("[::1]:80") == ("::1", "80")
    assert split_host("A.b.:1") == ("a.b", "1")
