"""JSON answers of handlers that need no job."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from aistack.wire.base import JSON


def json_answer(value: Any, status: int = 200) -> web.Response:
    """`value` as compact UTF-8 JSON; never NaN."""
    body = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    return web.Response(status=status, body=body, headers={"Content-Type": JSON})
