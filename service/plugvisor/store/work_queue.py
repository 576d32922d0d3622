"""The queue of writes."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    import sqlite3
    from collections.abc import Callable, Iterable

FLUSH_SECONDS = 0.05
"""How long what nobody waits for may wait for a transaction."""
MOST_POSTED = 2000
"""At most this much posted work is kept while it cannot be written; the oldest is dropped."""


class Item:
    """Some work for the writer's connection."""

    __slots__ = ("future", "is_abandoned", "work")

    def __init__(self, work: Callable[[sqlite3.Connection], Any], future: asyncio.Future[Any] | None) -> None:
        self.work = work
        self.future = future
        """Of the one who waits; None if nobody does."""
        self.is_abandoned = False
        """Whether its caller no longer waits, and expects that nothing is written."""


class WorkQueue:
    """Filled by the event loop, emptied by the writer."""

    def __init__(self) -> None:
        self.dropped = 0
        """How often something was dropped because there was no room."""
        self.is_closed = False
        self._items: deque[Item] = deque()
        self._awaited = 0
        self._changed = threading.Condition()

    @property
    def is_ended(self) -> bool:
        """Whether it is closed and empty."""
        return self.is_closed and not self._items

    def put(self, item: Item) -> None:
        """Add some work."""
        with self._changed:
            is_first = not self._items
            self._items.append(item)
            self._awaited += item.future is not None
            if is_first or item.future is not None:
                self._changed.notify()
            self._drop_oldest()

    def put_back(self, items: Iterable[Item]) -> None:
        """Return work that could not be done, to the front."""
        with self._changed:
            for item in reversed(list(items)):
                self._items.appendleft(item)
                self._awaited += item.future is not None
            self._drop_oldest()

    def take(self, seconds: float) -> list[Item]:
        """Wait for some work, and return all that is there; nothing after `seconds`, or when the queue is closed."""
        with self._changed:
            if not self._items and not self.is_closed:
                self._changed.wait(seconds)
            deadline = time.monotonic() + FLUSH_SECONDS
            while self._items and not self._awaited and not self.is_closed:
                seconds_left = deadline - time.monotonic()
                if seconds_left <= 0:
                    break
                self._changed.wait(seconds_left)
            items = list(self._items)
            self._items.clear()
            self._awaited = 0
            return items

    def wait_closed(self, seconds: float) -> None:
        """Wait until the queue is closed, but not longer than that."""
        with self._changed:
            self._changed.wait_for(lambda: self.is_closed, seconds)

    def close(self) -> None:
        """Have those who wait return: nothing more will come."""
        with self._changed:
            self.is_closed = True
            self._changed.notify_all()

    def _drop_oldest(self) -> None:
        while len(self._items) - self._awaited > MOST_POSTED:
            oldest = next(index for index, item in enumerate(self._items) if item.future is None)
            del self._items[oldest]
            self.dropped += 1
