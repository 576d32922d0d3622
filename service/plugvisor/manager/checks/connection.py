"""Connections for checks, and why one failed, in words."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from typing import TYPE_CHECKING, TypeVar

from plugvisor.manager.checks.resolver import resolve

if TYPE_CHECKING:
    from collections.abc import Callable

P = TypeVar("P", bound=asyncio.BaseProtocol)


async def connect(
    make_protocol: Callable[[], P], host: str, port: int, tls: ssl.SSLContext | None = None, name: str = ""
) -> tuple[asyncio.BaseTransport, P]:
    """Connect to the first of a host's addresses that accepts the connection.

    Args:
        name: what the server is told that it is called; the host by default.

    Raises:
        OSError: why the last address did not; `describe_failure` has words for it.
    """
    loop = asyncio.get_running_loop()
    failure: OSError = socket.gaierror()
    for address in await _resolve(host, port):
        try:
            return await loop.create_connection(
                make_protocol, address, port, ssl=tls, server_hostname=(name or host) if tls else None
            )
        except OSError as error:
            failure = error
    raise failure


async def _resolve(host: str, port: int) -> list[str]:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return await resolve(host, port)
    return [host]


def describe_failure(error: OSError) -> str:
    """Why a connection failed, without the address."""
    match error:
        case ConnectionRefusedError():
            return "connection refused"
        case ConnectionResetError():
            return "connection reset"
        case socket.gaierror():
            return "unknown host"
        case ssl.SSLError():
            return "no TLS connection"
        case _:
            return (error.strerror or "no connection").lower()
