"""A client of the event hub."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plugvisor.api.event_log import Event
    from plugvisor.api.http.stream_limit import Place


class Client:
    """One open stream."""

    def __init__(self, plugin_id: str | None, position: int, place: Place) -> None:
        self.plugin_id = plugin_id
        self.reads_logs = False
        """Whether it may read logs, and so the last line of a plugin that has ended."""
        self.place = place
        self.position = position
        """The number of the last event that it has got."""
        self.rest = memoryview(b"")
        """The rest of the events that it has taken, still to be sent."""
        self.is_in_line = False
        self.is_gone = False
        self.turn = asyncio.Event()

    def select(self, event: Event) -> bytes:
        """The part of an event that it is sent; empty if it is about another plugin, or not for this client."""
        if self.plugin_id is not None and event.plugin_id not in (None, self.plugin_id):
            return b""
        return event.read(reads_logs=self.reads_logs)

    def read_no_logs(self) -> None:
        """Send it what a client without a token gets from now on."""
        self.reads_logs = False

    def leave(self) -> None:
        """End the stream."""
        self.is_gone = True
        self.turn.set()
