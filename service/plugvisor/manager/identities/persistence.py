"""Loads the identities from the store, and saves them there; both are repeated until they succeed."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from plugvisor.errors import StoreUnavailable
from plugvisor.store.tables import identities as stored

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Awaitable, Callable, Sequence

    from plugvisor.manager.identities.admin import Admin
    from plugvisor.manager.identities.table import IdentityTable
    from plugvisor.store.store import Store
    from plugvisor.store.tables.identities import StoredCode, StoredIdentity

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
"""The pause before a failed load or save is repeated, unless the store recovers sooner."""


class Persistence:
    """Works from the first `load` to `close`.

    Args:
        on_code: called when another admin code was loaded.
    """

    def __init__(self, store: Store, admin: Admin, table: IdentityTable, on_code: Callable[[], object]) -> None:
        self.share: Callable[[Sequence[StoredIdentity], StoredCode | None], Awaitable[None]] | None = None
        """Has what is to be in force remembered elsewhere, too, before it is; raises `StoreUnavailable`."""
        self.turn = asyncio.Lock()
        """Held during a change, and while all identities are read or replaced."""
        self.is_loaded = False
        """Whether what is remembered could be read."""
        self._store = store
        self._admin = admin
        self._table = table
        self._on_code = on_code
        self._is_unsaved = False
        """Whether the store may lack what is held here."""
        self._is_recovery_due = False
        self._recovering: asyncio.Task[None] | None = None
        self._retry: asyncio.TimerHandle | None = None
        store.on_change.append(self._recover_soon)
        store.on_replaced.append(self.save_again)

    async def load(self) -> None:
        """See `Identities.load`."""
        async with self.turn:
            await self._load()
        self._recover_later()

    def close(self) -> None:
        """Save no more."""
        self._store.on_change.remove(self._recover_soon)
        self._store.on_replaced.remove(self.save_again)
        if self._retry is not None:
            self._retry.cancel()
        if self._recovering is not None:
            self._recovering.cancel()

    async def require_loaded(self) -> None:
        """Load what could not be loaded; raises `StoreUnavailable`. Called in the turn, as `write` is."""
        await self._load()
        if not self.is_loaded:
            raise StoreUnavailable("the identities cannot be read now")

    async def write(
        self,
        work: Callable[[sqlite3.Connection], object],
        after: Sequence[StoredIdentity] | None = None,
        new_code: StoredCode | None = None,
    ) -> None:
        """Do some work in the store, which may lead to other identities and another code; raises `StoreUnavailable`."""
        if self.share is not None and after is not None:
            await self.share(after, new_code or self._admin.stored)
        saves_all, self._is_unsaved = self._is_unsaved, False
        identities, code = self._table.list_all(), self._admin.stored

        def write(connection: sqlite3.Connection) -> None:
            if saves_all:
                stored.save_all(connection, identities, code)
            work(connection)

        try:
            await self._store.write(write)
        except BaseException:
            self._is_unsaved = True  # on a disk that did not answer in time it may have been written nevertheless
            self._recover_later()
            raise

    def save_again(self) -> None:
        """Save everything soon: the store does not have what is in force."""
        self._is_unsaved = self.is_loaded
        self._recover_soon()

    async def _load(self) -> None:
        if self.is_loaded:
            return
        try:
            identities, code = await self._store.read(stored.load)
            if code is not None and not await asyncio.to_thread(self._admin.is_replaced_by, code):
                code = None  # another one was configured since
                self._is_unsaved = True
        except StoreUnavailable:
            return
        self.is_loaded = True
        for each in identities:
            self._table.put(each)
        if code is not None:
            self._admin.replace(code)
            self._on_code()

    def _recover_soon(self) -> None:
        """The store may have recovered: load what could not be loaded, save what could not be saved."""
        self._is_recovery_due = True
        if self._recovering is None or self._recovering.done():
            self._recovering = asyncio.get_running_loop().create_task(self._recover())

    async def _recover(self) -> None:
        while self._is_recovery_due:
            self._is_recovery_due = False
            async with self.turn:
                await self._load()
                if not (self._is_unsaved and self._store.is_available):
                    continue
                try:
                    await self.write(lambda _connection: None)
                except StoreUnavailable as error:
                    logger.warning("the identities are not saved yet: %s", error)
        self._recover_later()

    def _recover_later(self) -> None:
        """Try again in a while, if there is anything to load or save: what fails once need not make a store fail."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if not self.is_loaded or self._is_unsaved:
            self._retry = asyncio.get_running_loop().call_later(RETRY_SECONDS, self._recover_soon)
