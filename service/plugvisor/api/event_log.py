"""The newest events, by number: what an open stream has not been sent yet, or who comes back has missed."""

from __future__ import annotations

import re
import secrets
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
    """Empty if it is only for clients that may read logs."""
    full_text: bytes
    """For clients that may read logs; empty if it is the same."""

    def read(self, *, reads_logs: bool) -> bytes:
        """The text for a client; empty if the event is not for it."""
        return self.full_text if reads_logs and self.full_text else self.text

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.text) + len(self.full_text)


class EventLog:
    """Events without gaps up to the last one."""

    def __init__(self) -> None:
        self.number = 0
        """Of the last event, kept or not."""
        # ids of another run of the service must not be taken for ours
        self._run = secrets.token_hex(4)
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

    def find(self, event_id: str) -> int:
        """The number of an event, by its id; -1 if there was none of this id."""
        run, _, number = event_id.partition("-")
        is_known = run == self._run and re.fullmatch(r"[0-9]{1,18}", number) and int(number) <= self.number
        return int(number) if is_known else -1

    def render(self, kind: str, data: bytes) -> bytes:
        """An event as it is sent, with the id of the last one."""
        return b"event: %b\nid: %b-%d\ndata: %b\n\n" % (kind.encode(), self._run.encode(), self.number, data)

    def add(self, kind: str, data: bytes, plugin_id: str | None, *, is_catalog: bool, full: bytes) -> None:
        """Keep another event; the oldest ones go when there are too many.

        Args:
            data: empty if it is only for clients that may read logs.
            full: the data for those; empty if it is the same.
        """
        self.number += 1
        texts = [self.render(kind, each) if each else b"" for each in (data, full)]
        event = self._events[self.number] = Event(plugin_id, is_catalog, *texts)
        self._bytes += event.size
        while len(self._events) > KEPT_EVENTS or self._bytes > KEPT_BYTES:
            self._bytes -= self._events.pop(next(iter(self._events))).size

    def forget(self) -> None:
        """Keep none of them: a gap, which only a snapshot can fill."""
        self.number += 1
        self._events.clear()
        self._bytes = 0
