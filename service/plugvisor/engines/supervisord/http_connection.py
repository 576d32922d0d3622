"""An HTTP/1.1 client for one server and one kept-alive connection: as much as supervisord's XML-RPC needs.

A call by httpx costs the service more CPU time than everything else that a start needs; by this, a tenth of it.
"""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote, urlsplit

import httptools

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PORT = 80
MAX_RESPONSE_BYTES = 64 * 1024 * 1024


@dataclass
class HttpResponse:
    """A response, complete when `content` is."""

    status: int = 0
    content: bytearray = field(default_factory=bytearray)


class HttpConnection:
    """Sends one request at a time, over a connection that is made when it is needed.

    Args:
        url: `unix:///path` or `http://[user:password@]host[:port]`.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._path = url.removeprefix("unix://") if parts.scheme == "unix" else None
        self._host, self._port = parts.hostname or "supervisor", parts.port or DEFAULT_PORT
        self._headers = [f"Host: {self._host}"]
        if parts.username:
            credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            self._headers.append(f"Authorization: Basic {base64.b64encode(credentials).decode()}")
        self._protocol: _Protocol | None = None

    async def post(self, path: str, content: bytes, headers: Mapping[str, str]) -> HttpResponse:
        """POST; returns when the whole response has arrived, and closes the connection if it is cancelled.

        Raises:
            OSError: the server cannot be reached, closed the connection, or sent something that is not HTTP.
        """
        protocol = self._protocol
        if protocol is None or protocol.is_closed:
            protocol = self._protocol = await self._connect()
        lines = [f"POST {path} HTTP/1.1", *self._headers, *(f"{name}: {value}" for name, value in headers.items())]
        head = "\r\n".join([*lines, f"Content-Length: {len(content)}", "", ""]).encode()
        try:
            return await protocol.send(head + content)
        except BaseException:
            protocol.close()  # what comes now would be taken for the next request's response
            raise

    def close(self) -> None:
        """Close the connection."""
        if self._protocol is not None:
            self._protocol.close()

    async def _connect(self) -> _Protocol:
        loop = asyncio.get_running_loop()
        if self._path is not None:
            return (await loop.create_unix_connection(_Protocol, self._path))[1]
        return (await loop.create_connection(_Protocol, self._host, self._port))[1]


class _Protocol(asyncio.Protocol):
    """One connection. The methods that begin with `on_` are called by the parser."""

    def __init__(self) -> None:
        self.is_closed = False
        self._response = HttpResponse()
        self._done: asyncio.Future[HttpResponse] | None = None
        self._parser = httptools.HttpResponseParser(self)

    async def send(self, request: bytes) -> HttpResponse:
        """Send a request and wait for the response."""
        self._response = HttpResponse()
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._done

    def close(self) -> None:
        """Close the connection."""
        self.is_closed = True
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's does not inherit from it

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(ConnectionError(f"the response is not HTTP: {error}"))
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self.is_closed = True
        self._fail(ConnectionResetError("the server closed the connection") if exc is None else OSError(str(exc)))

    def on_headers_complete(self) -> None:
        """The status is known."""
        self._response.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        """A part of the content."""
        self._response.content += body
        if len(self._response.content) > MAX_RESPONSE_BYTES:
            self._fail(ConnectionError("the response is too long"))
            self.close()

    def on_message_complete(self) -> None:
        """The whole response."""
        if not self._parser.should_keep_alive():
            self.close()
        if self._done is not None and not self._done.done():
            self._done.set_result(self._response)

    def _fail(self, error: OSError) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(error)
