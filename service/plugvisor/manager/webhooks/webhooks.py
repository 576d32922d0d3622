"""Webhooks: what happens to plugins is sent to receivers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from plugvisor.manager.webhooks.notices import Notices
from plugvisor.manager.webhooks.outbox import Outbox
from plugvisor.manager.webhooks.troubled import Troubled
from plugvisor.manager.webhooks.windows import Windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugvisor.engines.engine import Engine
    from plugvisor.manager.manager import Manager
    from plugvisor.manager.webhooks.deliveries import Queue
    from plugvisor.store.store import Store
    from plugvisor.webhook_secret import WebhookSecret


class Webhooks:
    """Sends messages from `open` to `close`.

    Args:
        urls: of the receivers; without any, nothing is done and nothing imported.
        secret: signs the messages; without one, nothing is sent.
    """

    def __init__(
        self, urls: Sequence[str], secret: WebhookSecret | None, store: Store, manager: Manager, engine: Engine
    ) -> None:
        self._secret = secret
        self._outbox = Outbox(store, urls if secret else ())
        self._troubled = Troubled(store)
        self._notices = Notices(manager, engine, self._troubled, Windows(self._outbox).add)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def queues(self) -> Sequence[Queue]:
        """The queue and the counters of each receiver."""
        return self._outbox.queues

    async def open(self) -> None:
        """Begin to follow the plugins, and to deliver what was left by an earlier service."""
        if self._secret is None or not self.queues:
            return
        # they take 10 MB and 150 ms
        from plugvisor.manager.webhooks.sender import Sender  # noqa: PLC0415
        from plugvisor.manager.webhooks.signing import Signer  # noqa: PLC0415

        await self._outbox.open()
        await self._troubled.open()
        self._notices.open()
        signer = Signer(self._secret)
        self._tasks = [asyncio.create_task(Sender(self._outbox, queue, signer).run()) for queue in self.queues]

    async def close(self) -> None:
        """Deliver nothing more; undelivered messages stay in the store."""
        if not self._tasks:
            return
        self._notices.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._outbox.close()
        self._troubled.close()
