"""Who may call: the browser guard, CORS for the allowed origins, and the API keys.

The guard protects a service on localhost from web pages: a page may only call it from the service's
own origin or an allowed one, and a `Host` that an attacker's DNS could point here (rebinding) is
refused. IP literals and single-label names cannot be rebound. The decisions are pure functions;
`middleware.py` applies them.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Collection, Sequence
from functools import lru_cache

from aistack.errors import Code, Fault

_LOCAL_SUFFIXES = (".local", ".lan", ".internal", ".home.arpa")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def split_host(header: str) -> tuple[str, str]:
    """A Host header as (name, port), lower case, without brackets and without a final dot."""
    header = header.strip().lower()
    if header.startswith("["):
        name, _, rest = header[1:].partition("]")
        return name, rest.removeprefix(":")
    name, _, port = header.partition(":")
    return name.removesuffix("."), port


@lru_cache(maxsize=256)
def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def host_allowed(host: str | None, own_names: Collection[str]) -> bool:
    """Whether a request with this Host header may be served. No header: no browser, so yes.

    `own_names` are the machine's own names and the configured ones, lower case.
    """
    if host is None:
        return True
    name, _ = split_host(host)
    return "." not in name or _is_address(name) or name.endswith(_LOCAL_SUFFIXES) or name in own_names


def origin_allowed(origin: str | None, host: str | None, allowed: Collection[str]) -> bool:
    """Whether a page of this origin may call. No header: not a cross-origin call of a browser.

    The service's own origin is the one the request was sent to, which `host_allowed` has checked.
    `null` (a file, a sandboxed frame) is refused unless it is configured by that word.
    """
    if origin is None or listed(origin, allowed):
        return True
    scheme, _, netloc = origin.strip().lower().partition("://")
    if scheme not in _DEFAULT_PORTS or not netloc or host is None:
        return False
    default = _DEFAULT_PORTS[scheme]
    theirs, their_port = split_host(netloc)
    ours, our_port = split_host(host)
    return theirs == ours and (their_port or default) == (our_port or default)


def listed(origin: str, allowed: Collection[str]) -> bool:
    """Whether the configuration lets this origin in; `*` stands for any."""
    wanted = origin.strip().lower().rstrip("/")
    return any(entry == "*" or entry.strip().lower().rstrip("/") == wanted for entry in allowed)


def cors_headers(origin: str) -> dict[str, str]:
    """What lets a page of an allowed origin read the answer."""
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": "X-Request-ID, Retry-After, Preference-Applied",
        "Vary": "Origin",
    }


def preflight_headers(origin: str, asked: str) -> dict[str, str]:
    """The answer to a browser that asks whether it may send a request with the `asked` headers."""
    return cors_headers(origin) | {
        "Access-Control-Allow-Methods": "GET, HEAD, POST, DELETE",
        "Access-Control-Allow-Headers": asked or "*",
        "Access-Control-Max-Age": "600",
    }


def needs_key(path: str) -> bool:
    """Whether this (decoded) path is behind the API keys. Page shells and static files are open."""
    return path == "/metrics" or path.startswith(("/v1/", "/admin/api/", "/admin/fragments/"))


def key_accepted(authorization: str | None, keys: Sequence[str]) -> bool:
    """Whether the header carries one of the keys; takes the same time whatever it carries.

    Digests are compared, so neither the length nor a common prefix shows in the time.
    """
    scheme, _, token = (authorization or "").partition(" ")
    sent = hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).digest()
    found = False
    for key in keys:
        found |= hmac.compare_digest(sent, hashlib.sha256(key.encode()).digest())
    return found and scheme.lower() == "bearer"


def unauthorized() -> Fault:
    """401: no key, or a wrong one."""
    return Fault(
        Code.UNAUTHORIZED, "This server requires an API key: send it as Authorization: Bearer <key>."
    )


def no_internal_key() -> Fault:
    """503: the internal API is closed until it has a key."""
    return Fault(Code.NOT_CONFIGURED, "The internal API is closed: set inference.api_key to open it.")


def wrong_internal_key(header: str) -> Fault:
    """401: no internal key in `header`, or a wrong one."""
    return Fault(Code.UNAUTHORIZED, f"The internal API requires its key in the header {header}.")


def foreign_host() -> Fault:
    """403: a `Host` that an attacker's DNS could point at this server."""
    return Fault(
        Code.FORBIDDEN_ORIGIN,
        "The request's Host is not a name of this server. To accept it, add it to server.allowed_hosts.",
    )


def foreign_origin() -> Fault:
    """403: a web page of an origin that is not allowed."""
    return Fault(
        Code.FORBIDDEN_ORIGIN,
        "Web pages of this origin may not use this server. "
        "To allow them, add the origin to server.allowed_origins.",
    )
