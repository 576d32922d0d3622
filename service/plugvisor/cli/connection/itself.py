"""A client that is connected to itself."""

from __future__ import annotations

import errno
import os
import socket
import struct

_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


def refuse_itself(connection: socket.socket) -> None:
    """Close a TCP connection whose two ends are one, as if nothing listened.

    If nobody does, and the system gives this client the very port that it connects to, TCP connects it to itself. To
    close it as usual would keep the service from its port for a minute.

    Raises:
        ConnectionRefusedError
    """
    if connection.getsockname() == connection.getpeername():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
        connection.close()
        raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
