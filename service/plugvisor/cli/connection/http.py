"""HTTP connections: to a port, with TLS or without, or to a Unix socket."""

from __future__ import annotations

import socket
from contextlib import suppress
from http.client import HTTPConnection, HTTPSConnection
from typing import NamedTuple
from urllib.parse import urlsplit

from plugvisor.cli.connection.itself import refuse_itself
from plugvisor.cli.connection.timed_response import TimedResponse
from plugvisor.setting_values import UNIX


class Exchange(NamedTuple):
    """A connection, its socket, and the response that comes by it."""

    connection: HTTPConnection
    socket: socket.socket
    response: TimedResponse

    def abort(self) -> None:
        """Have a thread that reads the response find its end."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End both: if the server closes the connection, the response has taken it over."""
        self.response.close()
        self.connection.close()


def connect(url: str, timeout_seconds: float) -> HTTPConnection:
    """A connection, which is not open yet. A certificate must be valid, by the authorities of the system.

    Args:
        timeout_seconds: to connect, to send something, and for the whole response.
    """
    connection = _make_connection(url, timeout_seconds)
    connection.response_class = TimedResponse
    return connection


def _make_connection(url: str, timeout_seconds: float) -> HTTPConnection:
    if url.startswith(UNIX):
        return _UnixConnection(url.removeprefix(UNIX), timeout_seconds)
    parts = urlsplit(url)
    assert parts.hostname is not None
    if parts.scheme == "https":
        return HTTPSConnection(parts.hostname, parts.port, timeout=timeout_seconds)
    return _TcpConnection(parts.hostname, parts.port, timeout=timeout_seconds)


class _TcpConnection(HTTPConnection):
    """A connection to a port."""

    def connect(self) -> None:
        """Open it."""
        super().connect()
        refuse_itself(self.sock)


class _UnixConnection(HTTPConnection):
    """A connection to a Unix socket."""

    def __init__(self, path: str, timeout_seconds: float) -> None:
        super().__init__("localhost", timeout=timeout_seconds)
        self._path = path

    def connect(self) -> None:
        """Open it."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
