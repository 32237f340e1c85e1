"""Bodies that are all there when they are looked at: read without waiting, within the same limits."""

from __future__ import annotations

from unittest.mock import Mock

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from aistack.errors import BackendFault
from aistack.web.upload.bodies import read_body


def arrived(*pieces: bytes, broken: Exception | None = None) -> web.Request:
    """A request without a declared length whose body has come to its end."""
    content = aiohttp.StreamReader(Mock(_reading_paused=False), limit=2**16)
    for piece in pieces:
        content.feed_data(piece)
    content.feed_eof()
    if broken is not None:
        content.set_exception(broken)
    return make_mocked_request("POST", "/", payload=content)


async def test_all_of_it_is_read() -> None:
    assert await read_body(arrived(b"one ", b"two"), 7, 1.0) == b"one two"
    assert await read_body(arrived(), 7, 1.0) == b""


async def test_the_limit_holds() -> None:
    with pytest.raises(BackendFault) as raised:
        await read_body(arrived(b"one ", b"two!"), 7, 1.0)
    assert raised.value.fault.status == 413


async def test_a_broken_body_is_refused() -> None:
    with pytest.raises(BackendFault) as raised:
        await read_body(arrived(b"one", broken=web.RequestPayloadError("bad")), 7, 1.0)
    assert raised.value.fault.status == 400
