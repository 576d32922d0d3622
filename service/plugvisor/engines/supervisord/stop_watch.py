"""Whether supervisord was stopped by a signal, if the system can say (Linux)."""

from __future__ import annotations

import os
import socket
import sys


class StopWatch:
    """Whether a process was sent SIGSTOP, at the price of a few microseconds; never, if the system cannot say.

    The file is kept open: it belongs to that process for ever, and to none when it is gone.
    """

    def __init__(self, pid: int) -> None:
        try:
            self._stat = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._stat = -1

    def is_stopped(self) -> bool:
        """Whether it is stopped at this moment, by a signal or a debugger."""
        if self._stat < 0:
            return False
        try:
            return os.pread(self._stat, 64, 0).rpartition(b") ")[2][:1] in (b"T", b"t")
        except OSError:
            return False

    def close(self) -> None:
        """Close the file."""
        if self._stat >= 0:
            os.close(self._stat)
        self._stat = -1


def get_peer_pid(connection: socket.socket) -> int:
    """The process that listens at the other end of a Unix socket; 0 if the system cannot say."""
    if not hasattr(socket, "SO_PEERCRED"):
        return 0
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[:4], sys.byteorder)
