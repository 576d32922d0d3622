"""Wakes the event loop when a signal arrives."""

from __future__ import annotations

import contextlib
import signal
import socket


class Waker:
    """Ends the wait of a round when a signal arrives, as a dispatcher."""

    def __init__(self) -> None:
        self.reading, self._writing = socket.socketpair()
        self.reading.setblocking(False)
        self._writing.setblocking(False)
        signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)

    def wake(self) -> None:
        """Make the next wait return at once."""
        with contextlib.suppress(OSError):  # full: it returns anyway
            self._writing.send(b"\0")

    def handle_read_event(self) -> None:
        """Take the bytes; being woken was all."""
        with contextlib.suppress(OSError):
            self.reading.recv(4096)

    def handle_error(self) -> None:
        """There is nothing to mend: the next signal writes again."""

    def close(self) -> None:
        """Ignore signals from now on."""
        signal.set_wakeup_fd(-1)
        self.reading.close()
        self._writing.close()
