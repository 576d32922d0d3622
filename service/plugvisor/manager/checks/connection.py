"""Connections for checks, and why one failed, in words."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

RESOLVERS = 4
"""So many names of hosts are looked up at once; each may take as long as the system waits for its name servers."""

P = TypeVar("P", bound=asyncio.BaseProtocol)


async def connect(
    make_protocol: Callable[[], P], host: str, port: int, tls: ssl.SSLContext | None = None
) -> tuple[asyncio.BaseTransport, P]:
    """Connect to the first of a host's addresses that accepts the connection.

    Raises:
        OSError: why the last address did not; `describe_failure` has words for it.
    """
    loop = asyncio.get_running_loop()
    failure: OSError = socket.gaierror()
    for address in await _resolve(host, port):
        try:
            return await loop.create_connection(
                make_protocol, address, port, ssl=tls, server_hostname=host if tls else None
            )
        except OSError as error:
            failure = error
    raise failure


async def _resolve(host: str, port: int) -> list[str]:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        try:
            looking = asyncio.get_running_loop().run_in_executor(_get_resolvers(), look_up)
        except RuntimeError as error:  # no thread can be started
            raise OSError(errno.ENOMEM, "no thread") from error
        found = await looking
        return [str(address[0]) for *_, address in found]
    return [host]


@cache
def _get_resolvers() -> ThreadPoolExecutor:
    """Threads of their own: a name server that does not answer must hold up nothing but these checks."""
    return ThreadPoolExecutor(RESOLVERS, "resolve")


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
