"""The messages for one receiver, in the order in which they are due."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(slots=True, eq=False)
class Message:
    """A message, the same for every receiver."""

    id: str
    kind: str
    plugin_id: str
    body: bytes
    created_at: float


@dataclass(slots=True, eq=False)
class Delivery:
    """A message for one receiver."""

    message: Message
    due: float
    """When it is tried next, on the clock."""
    expires: float
    """After that, it is tried no more."""
    attempts: int = 0


class Queue:
    """The deliveries to one receiver, and how many there have been."""

    def __init__(self, number: int, url: str, clock: Callable[[], float]) -> None:
        self.number = number
        self.url = url
        self.name = f"receiver {number} ({urlsplit(url).hostname})"
        """For logs: the rest of the URL may be a secret."""
        self.sent = 0
        self.failed = 0
        """Attempts that have failed."""
        self.dropped = 0
        """Messages that were never delivered."""
        self.deliveries: dict[str, Delivery] = {}
        """By the message's id, oldest first."""
        self._clock = clock
        self._paused_until = 0.0
        self._heap: list[tuple[float, int, Delivery]] = []
        self._numbers = itertools.count()
        self._news = asyncio.Event()

    def push(self, delivery: Delivery) -> None:
        """Add a delivery, or have one tried again when it is due."""
        self.deliveries[delivery.message.id] = delivery
        heapq.heappush(self._heap, (delivery.due, next(self._numbers), delivery))
        self._news.set()

    def remove(self, delivery: Delivery) -> None:
        """It is delivered, or dropped."""
        self.deliveries.pop(delivery.message.id, None)

    def pause(self, seconds: float) -> None:
        """Leave the receiver alone for this time."""
        self._paused_until = self._clock() + seconds

    async def take(self) -> Delivery:
        """Wait until a delivery is due, and return it; the caller pushes it again or removes it."""
        while True:
            while self._heap and not self._is_current(self._heap[0]):
                heapq.heappop(self._heap)
            seconds = None
            if self._heap:
                seconds = max(self._heap[0][0], self._paused_until) - self._clock()
                if seconds <= 0:
                    return heapq.heappop(self._heap)[2]
            self._news.clear()
            with contextlib.suppress(TimeoutError):  # one is due
                async with asyncio.timeout(seconds):
                    await self._news.wait()

    def _is_current(self, entry: tuple[float, int, Delivery]) -> bool:
        due, _, delivery = entry
        return delivery.due == due and self.deliveries.get(delivery.message.id) is delivery
