"""The check `tcp`: whether a port accepts a connection."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from plugvisor.manager.checks.connection import connect


def parse_address(address: str) -> tuple[str, int]:
    """The host and the port of `host:port`; raises `ValueError`."""
    parts = urlsplit(f"//{address}")
    if not parts.hostname or not parts.port:
        raise ValueError("a TCP address has a host and a port")
    return parts.hostname, parts.port


async def check_tcp(host: str, port: int, timeout_seconds: float) -> str:
    """Connect and close the connection; returns why the check fails, or "".

    Raises:
        OSError, TimeoutError: there is no connection.
        ValueError: this is no host.
    """
    async with asyncio.timeout(timeout_seconds):
        transport, _ = await connect(asyncio.Protocol, host, port)
    own, peer = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
    transport.close()
    # the kernel may choose a free port of this machine as the connection's own, which is then connected to itself
    return "connection refused" if own == peer else ""
