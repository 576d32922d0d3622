"""The workers of the install folder, which this service starts itself: there is no supervisord here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from socket import socket

    from plugvisor.settings import Settings


class LocalWorkers:
    """Starts workers as the plugins' user, and ends them with all that they have started."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def open(self, timeout_seconds: float) -> socket:
        """Start one; returns a connection to it; raises `OperationInterrupted`."""
        raise NotImplementedError

    async def end(self, connection: socket | None = None) -> None:
        """Kill one, or all."""
        raise NotImplementedError
