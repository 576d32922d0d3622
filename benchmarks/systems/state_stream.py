"""A reader of the extension's state stream, for waiting as the service does."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

READ_SECONDS = 30.0


class StateStreamReader:
    """Reads the state stream when it is asked to; if nobody reads for minutes, supervisord disconnects it."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(READ_SECONDS)
        self._socket.connect(str(path))
        self._received = bytearray()

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()

    def discard(self) -> None:
        """Forget what has been written until now."""
        self._socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while self._receive():
                pass
        self._socket.settimeout(READ_SECONDS)
        del self._received[: self._received.rfind(b"\n") + 1]

    def wait_for(self, name: str, condition: Callable[[dict[str, Any]], bool]) -> None:
        """Wait for a program's line that meets the condition."""
        while True:
            line, newline, rest = self._received.partition(b"\n")
            if not newline:
                if not self._receive():
                    raise EOFError("the state stream has ended")
                continue
            self._received = rest
            process = json.loads(line).get("process")
            if process is not None and process["name"] == name and condition(process):
                return

    def _receive(self) -> int:
        data = self._socket.recv(65536)
        self._received += data
        return len(data)
