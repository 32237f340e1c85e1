"""Names made by us: request ids (16 hex digits, 64 random bits) and job ids."""

from __future__ import annotations

import secrets


def request_id() -> str:
    """16 lowercase hex digits."""
    return secrets.token_hex(8)


def job_id() -> str:
    """12 lowercase hex digits."""
    return secrets.token_hex(6)
