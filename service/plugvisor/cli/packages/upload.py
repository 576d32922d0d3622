"""Sends a package to the service."""

from __future__ import annotations

import os
import select
import ssl
import stat
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from plugvisor.cli.client import UPLOAD_TIMEOUT_SECONDS
from plugvisor.cli.connection.paths import make_query
from plugvisor.cli.output import make_printable
from plugvisor.errors import ConfigurationError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from io import BufferedReader

    from plugvisor.cli.client import Client

_PART_BYTES = 256 * 1024
_LONGEST_SOURCE = 200
_TYPES = {b"PK\x03\x04": "application/zip", b"\x1f\x8b": "application/gzip"}
"""By the first bytes of the file."""


def send_package(client: Client, package: BufferedReader, name: str, options: Mapping[str, str], *, quiet: bool) -> Any:
    """Ask the service to install a package; returns the operation, which has only begun.

    Args:
        package: a file or a pipe.
        name: of the package's file; empty if it has none.
        options: of the request; an empty one is left out.
        quiet: do not show how much of it is sent.

    Raises:
        ConfigurationError: it is no package, or cannot be read.
        CommandRejected, NoAnswer: as `Client.call` does.
    """
    headers = {"Content-Type": _find_type(package, name)}
    source = name if name.isprintable() and len(name) <= _LONGEST_SOURCE else ""
    query = make_query({**options, "source": source})
    status = os.fstat(package.fileno())
    size_bytes = status.st_size if stat.S_ISREG(status.st_mode) else None
    if size_bytes is None:
        headers["Transfer-Encoding"] = "chunked"
        parts = _read_chunks(package)
    else:
        headers["Content-Length"] = str(size_bytes)
        parts = _read_parts(package, size_bytes)
    progress = None if quiet or size_bytes is None or not sys.stderr.isatty() else _Progress(name, size_bytes)
    try:
        send = partial(_send, parts=parts, on_sent=progress.add if progress else None)
        return client.upload(f"/plugins/install{query}", headers, send)
    finally:
        if progress:
            progress.close()


def _find_type(package: BufferedReader, name: str) -> str:
    what = repr(name) if name else "the package"
    try:
        beginning = package.peek(4)
    except OSError as error:
        raise ConfigurationError(f"cannot read {what}: {error.strerror}") from error
    for magic, content_type in _TYPES.items():
        if beginning.startswith(magic):
            return content_type
    raise ConfigurationError(f"cannot install {what}: it is neither a .zip nor a .tar.gz file")


def _read_parts(package: BufferedReader, size_bytes: int) -> Iterator[bytes]:
    left = size_bytes
    while left > 0:
        part = _read(package, min(left, _PART_BYTES))
        if not part:
            raise ConfigurationError("cannot read the package: it became shorter while it was sent")
        left -= len(part)
        yield part


def _read_chunks(package: BufferedReader) -> Iterator[bytes]:
    """The body of a request that does not say how long it is."""
    while part := _read(package, _PART_BYTES):
        yield b"%x\r\n%b\r\n" % (len(part), part)
    yield b"0\r\n\r\n"


def _read(package: BufferedReader, most_bytes: int) -> bytes:
    try:
        return package.read(most_bytes)
    except OSError as error:
        raise ConfigurationError(f"cannot read the package: {error.strerror}") from error


def _send(connection: socket.socket, parts: Iterable[bytes], on_sent: Callable[[int], object] | None) -> None:
    """Send parts until their end, or until there is an answer: the service may reject what it has not read yet."""
    # with TLS there may be something to read that is no answer, such as a ticket for the next session
    answering = [] if isinstance(connection, ssl.SSLSocket) else [connection]
    for part in parts:
        rest = memoryview(part)
        while rest:
            readable, writable, _ = select.select(answering, [connection], [], UPLOAD_TIMEOUT_SECONDS)
            if readable:
                return
            if not writable:
                raise TimeoutError
            try:
                rest = rest[connection.send(rest) :]
            except (BrokenPipeError, ConnectionResetError):
                return  # the answer, if it has arrived, says why
        if on_sent:
            on_sent(len(part))


class _Progress:
    """How much is sent, on one line of the terminal."""

    def __init__(self, name: str, size_bytes: int) -> None:
        self._name = make_printable(name, sys.stderr.encoding)
        self._size_bytes = size_bytes
        self._sent_bytes = 0
        self._percent = -1

    def add(self, sent_bytes: int) -> None:
        """Count more; the line is replaced if the number in it has changed."""
        self._sent_bytes += sent_bytes
        percent = 100 * self._sent_bytes // self._size_bytes
        if percent != self._percent:
            self._percent = percent
            print(f"\r{self._name}: {percent:3d} % sent", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the line, if there is one."""
        if self._percent >= 0:
            print(file=sys.stderr)
