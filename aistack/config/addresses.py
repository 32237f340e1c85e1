"""Addresses to listen on, `host:port`: how they are parsed and formatted, and who reaches them."""

from __future__ import annotations

import errno
import ipaddress
import socket

from attrs import frozen

from aistack.contract.limits import Limit


def parse_address(text: str) -> tuple[str, int]:
    """`host:port` (`[host]:port` for IPv6) as host and port (0: any free one). Raises ValueError."""
    host, _, port = text.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is not an address of the form host:port")
    return host, int(port)


def format_address(host: str, port: int) -> str:
    """The inverse of `parse_address`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def url_of(address: str) -> str:
    """The URL at which this machine reaches an address that is listened on."""
    host, port = parse_address(address)
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    return f"http://{format_address(host, port)}"


def is_open(address: str) -> bool:
    """Whether other machines can reach the address."""
    host, _ = parse_address(address)
    if host == "localhost":
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True


def is_nowhere(exc: OSError) -> bool:
    """Whether listening failed because this machine does not have that address.

    Since Python 3.13 asyncio's own loop says so in words alone, without an error number.
    """
    worded = exc.errno is None and "could not bind on any address" in str(exc)
    return worded or exc.errno == errno.EADDRNOTAVAIL or isinstance(exc, socket.gaierror)


@frozen
class Addresses(Limit):
    """At least one address to listen on."""

    @property
    def must(self) -> str:
        return 'be one or more addresses, such as "127.0.0.1:11500" or "[::1]:11500"'

    def fits(self, value: tuple[str, ...]) -> bool:
        try:
            return bool(value) and all(parse_address(text) for text in value)
        except ValueError:
            return False
