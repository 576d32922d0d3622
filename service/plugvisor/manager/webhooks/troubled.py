"""Remembers the plugins that are to recover, across restarts of the service."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from plugvisor.errors import StoreUnavailable
from plugvisor.store.tables import outbox as stored

if TYPE_CHECKING:
    from collections.abc import Collection

    from plugvisor.store.store import Store

logger = logging.getLogger(__name__)


class Troubled:
    """The plugins that were in trouble and have not been well since, in memory and in the store."""

    def __init__(self, store: Store) -> None:
        self.is_known = False
        """Whether it is known which they were when the service before this one ended."""
        self._store = store
        self._ids: set[str] = set()

    def __contains__(self, plugin_id: str) -> bool:
        return plugin_id in self._ids

    async def open(self) -> None:
        """Read which they were."""
        try:
            self._ids = await self._store.read(stored.load_troubled)
            self.is_known = True
        except StoreUnavailable:
            pass
        except Exception:
            logger.exception("cannot read which plugins were in trouble")
        self._store.on_change.append(self._save_all)
        self._store.on_replaced.append(self._save_all)

    def close(self) -> None:
        """Write no more."""
        self._store.on_change.remove(self._save_all)
        self._store.on_replaced.remove(self._save_all)

    def add(self, plugin_id: str) -> None:
        """A plugin is in trouble."""
        if plugin_id not in self._ids:
            self._ids.add(plugin_id)
            self._store.post(lambda connection: stored.add_troubled(connection, [plugin_id]))

    def remove(self, plugin_id: str) -> None:
        """A plugin is well."""
        self._remove([plugin_id])

    def keep(self, plugin_ids: Collection[str]) -> None:
        """Forget the plugins that are gone."""
        self._remove([plugin_id for plugin_id in self._ids if plugin_id not in plugin_ids])

    def _remove(self, plugin_ids: list[str]) -> None:
        if plugin_ids:
            self._ids.difference_update(plugin_ids)
            self._store.post(lambda connection: stored.remove_troubled(connection, plugin_ids))

    def _save_all(self) -> None:
        """The store may have missed something, or be another one."""
        plugin_ids = list(self._ids)
        self._store.post(lambda connection: stored.replace_troubled(connection, plugin_ids))
