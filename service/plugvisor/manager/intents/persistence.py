"""Loads the intents from the store, and stores what has changed; both are repeated until they succeed."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, TypeVar

from plugvisor.errors import StoreUnavailable
from plugvisor.store.tables import intents as stored

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plugvisor.store.store import Store

T = TypeVar("T")

logger = logging.getLogger(__name__)

STORE_SECONDS = 1.0
"""How long an answer waits for the store."""
RETRY_SECONDS = 1.0
"""The pause before a failed write is repeated."""


class Persistence:
    """Works from `load` to `close`.

    Args:
        held: what is to be stored; what is loaded is added to it.
        on_load: called when that was done.
    """

    def __init__(self, store: Store, held: stored.StoredIntents, on_load: Callable[[], object]) -> None:
        self.on_stored: list[Callable[[], object]] = []
        """Called when a change was stored, or could not be."""
        self.is_loaded = False
        """Whether what is remembered could be read."""
        self._store = store
        self._held = held
        self._on_load = on_load
        self._loading = asyncio.Lock()
        self._failure = ""  # why it could not be read at the last try: that is logged once
        self._writes: dict[str, asyncio.Task[bool]] = {}
        """The last write of each plugin, until it has succeeded."""
        self._timer: asyncio.TimerHandle | None = None
        self._retrying: asyncio.Task[None] | None = None
        store.on_replaced.append(self._store_all)

    async def load(self) -> None:
        """See `Intents.load`."""
        async with self._loading:
            if self.is_loaded:
                return
            try:
                known = await self._store.read(stored.load)
            except Exception as error:  # noqa: BLE001 - the service goes on, whatever the file holds
                if not self._failure:
                    logger.warning("it is not known what operators want of the plugins: %s", error)
                self._failure = str(error)
                self._retry_later()
                return
            _add_missing(self._held.intents, known.intents)
            _add_missing(self._held.disabled, known.disabled)
            _add_missing(self._held.asked, known.asked)
            self.is_loaded = True
        self._on_load()

    async def close(self) -> None:
        """See `Intents.close`."""
        if self._timer is not None:
            self._timer.cancel()
        if self._writes:
            await asyncio.wait(self._writes.values(), timeout=STORE_SECONDS)

    async def wait_stored(self, plugin_id: str) -> bool:
        """Wait until a plugin's last change outlives a restart, for a short while; returns whether it does."""
        write = self._writes.get(plugin_id)
        if write is None:
            return True
        await asyncio.wait((write,), timeout=STORE_SECONDS)
        return write.done() and not write.cancelled() and write.result()

    def begin_write(self, plugin_id: str) -> None:
        """Store what is held of a plugin, soon, and again until that has succeeded."""
        self._writes[plugin_id] = asyncio.create_task(self._write(plugin_id))

    async def _write(self, plugin_id: str) -> bool:
        """Store all that is known of a plugin; returns whether that has succeeded."""
        if not self.is_loaded:  # what is stored of it must not be lost
            return False
        held = self._held
        values = held.intents.get(plugin_id), held.disabled.get(plugin_id), held.asked.get(plugin_id, "")
        try:
            await self._store.write(lambda connection: stored.save(connection, plugin_id, *values))
        except StoreUnavailable:
            self._retry_later()
            return False
        except Exception:
            logger.exception("cannot store what is wanted of %r", plugin_id)
            return False
        finally:
            for callback in self.on_stored:
                callback()
        if self._writes.get(plugin_id) is asyncio.current_task():
            del self._writes[plugin_id]
        return True

    def _store_all(self) -> None:
        """Store everything: the database is a new one."""
        if self.is_loaded:
            for plugin_id in {*self._held.intents, *self._held.disabled, *self._held.asked}:
                self.begin_write(plugin_id)

    def _retry_later(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(RETRY_SECONDS, self._begin_retry)

    def _begin_retry(self) -> None:
        self._timer = None
        self._retrying = asyncio.create_task(self._retry())

    async def _retry(self) -> None:
        await self.load()
        failed = [plugin_id for plugin_id, write in self._writes.items() if write.done()]
        if self._store.is_available:
            for plugin_id in failed:
                self.begin_write(plugin_id)
        elif failed:
            self._retry_later()


def _add_missing(table: dict[str, T], known: Mapping[str, T]) -> None:
    """Add what is stored to what has been asked for before it could be read, which is newer."""
    for plugin_id, value in known.items():
        table.setdefault(plugin_id, value)
