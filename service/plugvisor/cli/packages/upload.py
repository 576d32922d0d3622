"""Sends a package to the service."""

from __future__ import annotations

import os
import select
import sys
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from plugvisor.cli.client import UPLOAD_TIMEOUT_SECONDS
from plugvisor.cli.output import make_printable
from plugvisor.errors import ConfigurationError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping
    from typing import BinaryIO

    from plugvisor.cli.client import Client

_PART_BYTES = 256 * 1024
_LONGEST_SOURCE = 200
_TYPES = {b"PK\x03\x04": "application/zip", b"\x1f\x8b": "application/gzip"}
"""By the first bytes of the file."""


def send_package(client: Client, package: BinaryIO, name: str, options: Mapping[str, str], *, quiet: bool) -> Any:
    """Ask the service to install a package; returns the operation, which has only begun.

    Args:
        name: of the package's file.
        options: of the request; an empty one is left out.
        quiet: do not show how much of it is sent.

    Raises:
        ConfigurationError: it is no package, or cannot be read.
        CommandRejected, NoAnswer: as `Client.call` does.
    """
    content_type = _find_type(package, name)
    source = name if name.isprintable() and len(name) <= _LONGEST_SOURCE else ""
    query = urlencode({key: value for key, value in {**options, "source": source}.items() if value})
    size_bytes = os.fstat(package.fileno()).st_size
    progress = _Progress(name, size_bytes) if not quiet and sys.stderr.isatty() else None
    send = partial(
        _send, file=package, size_bytes=size_bytes, on_sent=progress.show if progress else lambda _sent: None
    )
    headers = {"Content-Type": content_type, "Content-Length": str(size_bytes)}
    try:
        return client.upload(f"/plugins/install?{query}", headers, send)
    finally:
        if progress:
            progress.close()


def _find_type(package: BinaryIO, name: str) -> str:
    try:
        beginning = package.read(4)
        package.seek(0)
    except OSError as error:
        raise ConfigurationError(f"cannot read {name!r}: {error.strerror}") from error
    for magic, content_type in _TYPES.items():
        if beginning.startswith(magic):
            return content_type
    raise ConfigurationError(f"cannot install {name!r}: it is neither a .zip nor a .tar.gz file")


def _send(connection: socket.socket, file: BinaryIO, size_bytes: int, on_sent: Callable[[int], object]) -> None:
    """Send a file until its end, or until there is an answer: the service may reject it before it has all of it."""
    sent = 0
    while sent < size_bytes:
        try:
            part = memoryview(file.read(min(_PART_BYTES, size_bytes - sent)))
        except OSError as error:
            raise ConfigurationError(f"cannot read the package: {error.strerror}") from error
        if not part:
            raise ConfigurationError("cannot read the package: it became shorter while it was sent")
        sent += len(part)
        while part:
            readable, writable, _ = select.select([connection], [connection], [], UPLOAD_TIMEOUT_SECONDS)
            if readable:
                return
            if not writable:
                raise TimeoutError
            try:
                part = part[connection.send(part) :]
            except (BrokenPipeError, ConnectionResetError):
                return  # the answer, if it has arrived, says why
        on_sent(sent)


class _Progress:
    """How much is sent, on one line of the terminal."""

    def __init__(self, name: str, size_bytes: int) -> None:
        self._name = make_printable(name, sys.stderr.encoding)
        self._size_bytes = size_bytes
        self._percent = -1

    def show(self, sent_bytes: int) -> None:
        """Replace the line if the number in it has changed."""
        percent = 100 * sent_bytes // self._size_bytes
        if percent != self._percent:
            self._percent = percent
            print(f"\r{self._name}: {percent:3d} % sent", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the line, if there is one."""
        if self._percent >= 0:
            print(file=sys.stderr)
