"""An `[fcgi-program:x]` whose socket was opened before supervisord started: `socket=unix:///dev/fd/4`.

supervisor 4.3.0 binds the socket of such a program itself, for IPv4 only, and closes it when no process of the program
runs: meanwhile clients are refused, and another process can take the address. `plugvisor up` opens the service's
socket before it becomes supervisord, which passes it on and never closes it. supervisord's `reload` does not either.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any

from supervisor import process
from supervisor.socket_manager import SocketManager

HELD_DESCRIPTOR = 4
"""supervisord closes all from 5 on when it reloads itself (`ServerOptions.cleanup_fds`)."""
_URL = f"unix:///dev/fd/{HELD_DESCRIPTOR}"


class HeldSocket:
    """The open socket, and what a program group needs of its `SocketManager`.

    Raises:
        OSError: the descriptor is no socket.
    """

    def __init__(self) -> None:
        os.set_inheritable(HELD_DESCRIPTOR, False)  # `FastCGISubprocess` duplicates it for its process
        with socket.socket(fileno=os.dup(HELD_DESCRIPTOR)) as listener:
            name = listener.getsockname()
        self._path = name if isinstance(name, str) else ""
        self._file = _identify(self._path)

    def fileno(self) -> int:
        """Its descriptor."""
        return HELD_DESCRIPTOR

    def get_socket(self) -> HeldSocket:
        """Return what a new process gets as descriptor 0."""
        return self

    def remove_file(self) -> None:
        """Remove the file of a Unix socket, unless it is another's by now."""
        if self._file is not None and _identify(self._path) == self._file:
            with contextlib.suppress(OSError):
                os.unlink(self._path)


def install_held_socket() -> HeldSocket | None:
    """Have supervisord use the socket for the program that names it; others use supervisor's own sockets.

    Returns:
        None if this process was started without such a socket.
    """
    try:
        held = HeldSocket()
    except OSError:
        return None

    def make_manager(config: Any, **options: Any) -> Any:
        return held if config.url == _URL else SocketManager(config, **options)

    process.SocketManager = make_manager
    return held


def _identify(path: str) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
