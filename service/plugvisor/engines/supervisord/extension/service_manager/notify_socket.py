"""Messages to systemd, or to whatever else has started this process with `NOTIFY_SOCKET` (sd_notify(3))."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableMapping

READY = b"READY=1"
STOPPING = b"STOPPING=1"
VARIABLE = "NOTIFY_SOCKET"


class NotifySocket:
    """Sends messages to the socket that the environment names; without one, nothing is sent.

    It takes the variable out of the environment: a process that inherited it could send messages too.
    """

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        self._address = environ.pop(VARIABLE, "")

    def send(self, message: bytes) -> None:
        """Send one message, without waiting; raises `OSError`."""
        if self._address[:1] not in ("/", "@"):  # systemd knows others, of virtual machines
            return
        is_abstract = self._address[0] == "@"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(message, "\0" + self._address[1:] if is_abstract else self._address)
