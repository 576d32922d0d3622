"""The check `http`: whether a URL answers with a status from 200 to 299.

`asyncio` and `httptools` alone: an attempt costs a tenth of a millisecond or two.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from dataclasses import dataclass
from typing import cast
from urllib.parse import quote, urlsplit

import httptools

from plugvisor import VERSION
from plugvisor.manager.checks.connection import connect, describe_failure

MOST_BYTES = 64 * 1024
"""So much of a response is read, its head included."""
_PORTS = {"http": 80, "https": 443}
_URL_CHARACTERS = "/?:@!$&'()*+,;=%-._~[]"


@dataclass(frozen=True)
class Target:
    """Where a request goes, and its bytes."""

    host: str
    port: int
    is_tls: bool
    request: bytes


@functools.lru_cache(maxsize=4096)
def parse_url(url: str) -> Target:
    """Parse a URL; raises `ValueError`."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("a URL has `http` or `https` and a host")
    port = parts.port or _PORTS[parts.scheme]
    host = parts.hostname
    name = f"[{host}]" if ":" in host else host
    path = quote(parts.path or "/", safe=_URL_CHARACTERS)
    if parts.query:
        path += "?" + quote(parts.query, safe=_URL_CHARACTERS)
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {name if port == _PORTS[parts.scheme] else f'{name}:{port}'}",
        f"User-Agent: Plugvisor/{VERSION}",
        "Accept: */*",
        "Connection: close",
    ]
    return Target(host, port, parts.scheme == "https", "\r\n".join([*lines, "", ""]).encode())


async def check_http(url: str, timeout_seconds: float, host: str = "") -> str:
    """Request a URL; returns why the check fails, or "". Redirects are not followed.

    The status decides as soon as it is known, even if the body does not end in time or within `MOST_BYTES`.

    Args:
        host: where to connect to instead of the URL's host, which the request names all the same.

    Raises:
        OSError, TimeoutError: there is no connection, or no answer.
        ValueError: this is no URL.
    """
    target = parse_url(url)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_seconds
    async with asyncio.timeout_at(deadline):
        transport, exchange = await connect(
            lambda: Exchange(target.request),
            host or target.host,
            target.port,
            _make_context() if target.is_tls else None,
            target.host,
        )
    try:
        await asyncio.wait((exchange.done,), timeout=deadline - loop.time())
    finally:
        cast("asyncio.WriteTransport", transport).abort()
    if (verdict := exchange.verdict) is None:
        raise TimeoutError
    return verdict


@functools.cache
def _make_context() -> ssl.SSLContext:
    """A check asks whether a plugin answers, not who it is: certificates are not verified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Exchange(asyncio.Protocol):
    """One request and its response. The methods that begin with `on_` are called by the parser."""

    def __init__(self, request: bytes) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._status = 0  # until the head has arrived
        self._failure = ""  # why there is no status, and will be none
        self._request = request
        self._bytes_left = MOST_BYTES
        self._parser = httptools.HttpResponseParser(self)

    @property
    def verdict(self) -> str | None:
        """Why the check fails, or ""; None as long as there is no answer."""
        if self._status:
            return "" if 200 <= self._status <= 299 else f"answered {self._status}"
        return self._failure or None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        cast("asyncio.WriteTransport", transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        if self.done.done():
            return
        try:
            self._parser.feed_data(data[: self._bytes_left])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._finish("the answer is not HTTP")
        self._bytes_left -= len(data)
        if self._bytes_left <= 0:
            self._finish("the answer's head is too long")

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self._finish(describe_failure(exc) if isinstance(exc, OSError) else "the connection was closed, no answer")

    def on_headers_complete(self) -> None:
        """The status is known, if it is not that of an interim response."""
        status = self._parser.get_status_code()
        self._status = 0 if 100 <= status < 200 and status != 101 else status

    def on_message_complete(self) -> None:
        """The whole response, or an interim one."""
        if self._status:
            self._finish("")

    def _finish(self, failure: str) -> None:
        if not self.done.done():
            self._failure = failure
            self.done.set_result(None)
