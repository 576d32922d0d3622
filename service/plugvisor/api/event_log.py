"""The newest events, by number: what an open stream has not been sent yet, or who comes back has missed."""

from __future__ import annotations

from typing import NamedTuple

KEPT_EVENTS = 1024
KEPT_BYTES = 8 * 1024 * 1024
"""At most this many events are kept, and at most these bytes of them."""


class Event(NamedTuple):
    """One event as it is sent."""

    plugin_id: str | None
    """The plugin that it is about; None: all; empty: one that is not known."""
    is_catalog: bool
    """Whether it lists all plugins."""
    text: bytes


class EventLog:
    """Events without gaps up to the last one."""

    def __init__(self) -> None:
        self.number = 0
        """Of the last event, kept or not."""
        self._events: dict[int, Event] = {}
        self._bytes = 0

    def __getitem__(self, number: int) -> Event:
        """A kept event."""
        return self._events[number]

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._events)

    @property
    def bytes_kept(self) -> int:
        """The size of all kept events."""
        return self._bytes

    def holds_all_after(self, number: int) -> bool:
        """Whether every event after that number is kept."""
        return number >= self.number - len(self._events)

    def append(self, event: Event) -> None:
        """Keep the event whose number is `number`; the oldest ones go when there are too many."""
        self._events[self.number] = event
        self._bytes += len(event.text)
        while len(self._events) > KEPT_EVENTS or self._bytes > KEPT_BYTES:
            self._bytes -= len(self._events.pop(next(iter(self._events))).text)

    def forget(self) -> None:
        """Keep none of them: a gap, which only a snapshot can fill."""
        self.number += 1
        self._events.clear()
        self._bytes = 0
