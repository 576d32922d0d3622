"""The messages that are still to be delivered: in memory, and in the store while that is available."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import time
from functools import partial
from typing import TYPE_CHECKING

from plugvisor.errors import StoreUnavailable
from plugvisor.manager.webhooks.deliveries import Delivery, Message, Queue
from plugvisor.store.tables import outbox as stored

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plugvisor.store.store import Store

logger = logging.getLogger(__name__)

MOST_QUEUED = 10_000
"""Messages for one receiver; beyond them the oldest is dropped."""
KEPT_SECONDS = 86_400.0
"""How long a message is tried."""
CHANGES_SECONDS = 1.0
"""How long a change of a held message may wait for the store."""


class Outbox:
    """Holds messages from `open` to `close`.

    Args:
        urls: of the receivers.
        clock: monotonic, in seconds. Times in the store are those of the wall clock.
    """

    def __init__(self, store: Store, urls: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        self.queues = [Queue(number, url, clock) for number, url in enumerate(dict.fromkeys(urls), 1)]
        """One for each receiver."""
        self._store = store
        self._clock = clock
        self._is_loaded = False
        self._changed: dict[str, Message] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._sync_task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Load the store's messages; all of them are due at once."""
        await self._sync()
        self._store.on_change.append(self._on_store)
        self._store.on_replaced.append(self._on_store)

    async def close(self) -> None:
        """Leave undelivered messages in the store."""
        self._store.on_change.remove(self._on_store)
        self._store.on_replaced.remove(self._on_store)
        if self._sync_task is not None:
            self._sync_task.cancel()
            await asyncio.gather(self._sync_task, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()
            self._save_changes()

    def add(self, kind: str, plugin_id: str, body: bytes, delay_seconds: float = 0.0) -> Message:
        """Have a message delivered to every receiver, after a while."""
        message = Message(f"msg_{secrets.token_hex(16)}", kind, plugin_id, body, time.time())
        now = self._clock()
        rows = []
        for queue in self.queues:
            delivery = Delivery(message, now + delay_seconds, now + delay_seconds + KEPT_SECONDS)
            queue.push(delivery)
            self._drop_oldest(queue)
            rows.append(self._make_row(queue, delivery))
        self._store.post(lambda connection: stored.save(connection, rows))
        return message

    def change(self, message: Message, body: bytes) -> None:
        """Replace the body of a message that is held."""
        message.body = body
        self._changed[message.id] = message
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CHANGES_SECONDS, self._save_changes)

    def postpone(self, queue: Queue, delivery: Delivery, seconds: float) -> None:
        """Have a delivery that has failed tried again."""
        delivery.attempts += 1
        delivery.due = self._clock() + seconds
        if delivery.message.id in queue.deliveries:  # else it was dropped meanwhile
            queue.push(delivery)
            row = self._make_row(queue, delivery)
            self._store.post(lambda connection: stored.save(connection, [row]))

    def remove(self, queue: Queue, delivery: Delivery) -> None:
        """Forget a delivery: it is delivered, or tried no more."""
        queue.remove(delivery)
        self._store.post(partial(stored.delete, message_id=delivery.message.id, url=_name(queue)))

    def is_expired(self, delivery: Delivery) -> bool:
        """Whether a delivery is tried no more."""
        return self._clock() >= delivery.expires

    # -- parts

    def _drop_oldest(self, queue: Queue) -> None:
        while len(queue.deliveries) > MOST_QUEUED:
            if queue.dropped == 0:
                logger.error("there are more than %d webhooks for %s; the oldest are dropped", MOST_QUEUED, queue.name)
            queue.dropped += 1
            self.remove(queue, next(iter(queue.deliveries.values())))

    def _save_changes(self) -> None:
        self._timer = None
        bodies = [(message.body, message.id) for message in self._changed.values()]
        self._changed.clear()
        self._store.post(lambda connection: stored.change_bodies(connection, bodies))

    def _make_row(self, queue: Queue, delivery: Delivery) -> stored.StoredDelivery:
        message = delivery.message
        next_at = time.time() + delivery.due - self._clock()
        return stored.StoredDelivery(
            message.id,
            _name(queue),
            message.kind,
            message.plugin_id,
            message.body,
            message.created_at,
            delivery.attempts,
            next_at,
        )

    # -- the store

    def _on_store(self) -> None:
        """It may be available again, or be another one, and have missed something."""
        if self._store.is_available and (self._sync_task is None or self._sync_task.done()):
            self._sync_task = asyncio.get_running_loop().create_task(self._sync())

    async def _sync(self) -> None:
        """Have the same in the store as in memory."""
        if not self._is_loaded:
            try:
                self._take_over(await self._store.read(stored.load))
            except StoreUnavailable:
                return  # until it is available; meanwhile all is in memory
            except Exception:
                logger.exception("cannot read the webhooks that are still to be delivered; they are dropped")
            self._is_loaded = True
        rows = [self._make_row(queue, delivery) for queue in self.queues for delivery in queue.deliveries.values()]
        self._store.post(lambda connection: stored.replace_all(connection, rows))

    def _take_over(self, rows: Sequence[stored.StoredDelivery]) -> None:
        queues = {_name(queue): queue for queue in self.queues}
        messages: dict[str, Message] = {}
        now, wall = self._clock(), time.time()
        unknown = 0
        for row in rows:
            queue = queues.get(row.url)
            if queue is None:
                unknown += 1
                continue
            if row.id in queue.deliveries:
                continue
            message = messages.setdefault(row.id, Message(row.id, row.kind, row.plugin_id, row.body, row.created_at))
            # bounded, whatever the wall clock was set to meanwhile
            age = min(max(0.0, wall - row.created_at), KEPT_SECONDS)
            queue.push(Delivery(message, now, now + KEPT_SECONDS - age, row.attempts))
            self._drop_oldest(queue)
        if unknown:
            logger.warning("%d webhooks are dropped: their receivers are no longer configured", unknown)


def _name(queue: Queue) -> str:
    """The name of a receiver in the store: its URL may hold a password."""
    return hashlib.sha256(queue.url.encode()).hexdigest()
