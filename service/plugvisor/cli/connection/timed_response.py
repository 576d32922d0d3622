"""A response that must be there in time as a whole, however often a byte of it comes."""

from __future__ import annotations

import io
import time
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import socket

SLOWEST_BYTES_PER_SECOND = 10_000
"""A long response may take as much longer as it takes a slow line to bring it."""


class TimedResponse(HTTPResponse):
    """A response whose time is its socket's timeout, from when it is awaited to its end."""

    fp: Any

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self._reader = _TimedReader(self.fp.detach(), sock)
        self.fp = io.BufferedReader(self._reader)

    def allow_pauses(self) -> None:
        """From now on, as of a stream, the timeout is that of each read."""
        self._reader.allow_pauses()


class _TimedReader(io.RawIOBase):
    """Reads from a socket; raises `TimeoutError` if the time is over.

    Args:
        source: the socket as a file, without a buffer.
    """

    def __init__(self, source: BinaryIO, sock: socket.socket) -> None:
        self._source: Any = source
        self._socket = sock
        self._timeout_seconds = sock.gettimeout()
        self._end_at = time.monotonic() + (self._timeout_seconds or 0.0)
        self._is_timed = self._timeout_seconds is not None

    def allow_pauses(self) -> None:
        self._is_timed = False
        self._socket.settimeout(self._timeout_seconds)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        if self._is_timed:
            left_seconds = self._end_at - time.monotonic()
            if left_seconds <= 0:
                raise TimeoutError("timed out")
            self._socket.settimeout(left_seconds)
        count: int = self._source.readinto(buffer)
        self._end_at += count / SLOWEST_BYTES_PER_SECOND
        return count

    def close(self) -> None:
        self._source.close()
        super().close()
