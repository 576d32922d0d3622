"""What the system tells of a process, where it tells it (Linux): supervisord does not."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path


def has_executed(pid: int) -> bool | None:
    """Whether a child of supervisord has executed its program; None where this system does not tell.

    Between fork and exec the child still has supervisord's signal handlers, which only note a signal
    (`SignalReceiver.receive`), and exec then forgets the note: a SIGTERM sent in between is swallowed.
    Until exec the child's command line is its parent's.
    """
    try:
        parent_pid = _read_stat(pid)[1]
        return _read_cmdline(str(pid)) != _read_cmdline(parent_pid)
    except (OSError, IndexError):
        # no /proc here, or the process is gone: a signal to it is not lost but pointless
        return None if not Path("/proc/self/stat").exists() else True


class StopWatch:
    """Tells whether a process was sent SIGSTOP, at the price of a few microseconds; no where the system does not tell.

    The file is kept open: it tells of that process for ever, and of none when it is gone.
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
        """Look no more."""
        if self._stat >= 0:
            os.close(self._stat)
        self._stat = -1


def get_peer_pid(connection: socket.socket) -> int:
    """The process that listens at the other end of a Unix socket; 0 where this system does not tell."""
    if not hasattr(socket, "SO_PEERCRED"):
        return 0
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[:4], sys.byteorder)


def _read_stat(pid: int) -> list[str]:
    # the fields after the command's name, which stands in parentheses and may itself hold some
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _read_cmdline(pid: str) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
