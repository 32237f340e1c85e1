"""JSON answers of handlers that need no job."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from aistack.contract.converters import dumps
from aistack.wire.base import JSON


def json_answer(plain: Any, status: int = 200) -> web.Response:
    """`plain` (dicts, lists, scalars) as compact UTF-8 JSON; never NaN."""
    return web.Response(status=status, body=dumps(plain), headers={"Content-Type": JSON})
