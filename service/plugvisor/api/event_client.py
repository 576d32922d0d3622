"""A client of the event hub."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plugvisor.api.http.stream_limit import Place


class Client:
    """One open stream."""

    def __init__(self, plugin_id: str | None, position: int, place: Place) -> None:
        self.plugin_id = plugin_id
        self.place = place
        self.position = position
        """The number of the last event that it has got."""
        self.rest = memoryview(b"")
        """The rest of the events that it has taken, still to be sent."""
        self.is_in_line = False
        self.is_gone = False
        self.turn = asyncio.Event()

    def leave(self) -> None:
        """End the stream."""
        self.is_gone = True
        self.turn.set()
