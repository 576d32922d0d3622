"""Makes the plugins that the engine has those of the plugins folder."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from plugvisor.errors import AlreadyRunning, InvalidManifest, NotRunning, StartFailed, StopTimeout
from plugvisor.manager.dependencies.order import begin_in_order, find_nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from plugvisor.engines.engine import Engine
    from plugvisor.manager.catalog_keeper import CatalogKeeper
    from plugvisor.manager.operations import Operations
    from plugvisor.models.process import Process
    from plugvisor.plugins.catalog import Catalog

REMOVE_TRIES = 3
"""How often a plugin is stopped that somebody starts again before it can be removed."""


def every_plugin(_plugin_id: str) -> bool:
    """Accept any plugin."""
    return True


@dataclass(frozen=True)
class Refreshed:
    """Sorted ids."""

    added: list[str]
    changed: list[str]
    removed: list[str]
    invalid: list[str]

    def only(self, accepts: Callable[[str], bool]) -> Refreshed:
        """The same, of some plugins alone."""
        return Refreshed(
            *(list(filter(accepts, ids)) for ids in (self.added, self.changed, self.removed, self.invalid))
        )

    def reject(self, ids: list[str]) -> Refreshed:
        """The same, with ids that could not be added among the invalid ones."""
        added = [plugin_id for plugin_id in self.added if plugin_id not in ids]
        return replace(self, added=added, invalid=sorted({*self.invalid, *ids}))


def list_differences(
    before: Collection[str],
    after: Catalog,
    reread: Collection[str],
    processes: Mapping[str, Process],
    awaited: Collection[str] = (),
) -> Refreshed:
    """Compare two readings of the plugins folder with what the engine knows.

    Args:
        before: the ids that there were.
        reread: the ids whose reading is another than before.
        awaited: the ids of those whose folders are on their way here: they are not gone.
    """
    # one that `supervisorctl update` has added is new here all the same
    added = [
        plugin.id
        for plugin in after.values()
        if plugin.program and not (plugin.id in processes and plugin.id in before)
    ]
    gone = {plugin.id for plugin in after.values() if plugin.folder is None and plugin.id not in awaited}
    return Refreshed(
        added=added,
        changed=[
            plugin.id for plugin in after.values() if plugin.program and plugin.id not in added and plugin.id in reread
        ],
        removed=sorted({*before, *gone} - (after.keys() - gone)),
        invalid=[plugin.id for plugin in after.values() if plugin.folder and not plugin.program],
    )


class Refresher:
    """Adds and removes plugins, each in its turn."""

    def __init__(self, keeper: CatalogKeeper, engine: Engine, operations: Operations) -> None:
        self._keeper = keeper
        self._engine = engine
        self._operations = operations
        self._turn = asyncio.Lock()

    async def refresh(self, accepts: Callable[[str], bool] = every_plugin) -> Refreshed:
        """See `Manager.refresh`."""
        async with self._turn:
            await self._keeper.bring()
            awaited = set(self._engine.list_awaited())  # before the reading: one that is brought meanwhile is not gone
            before, after = await self._keeper.read_all(accepts)
            changed = {plugin_id for plugin_id, plugin in after.items() if plugin != before.get(plugin_id)}
            differences = list_differences(before, self._keeper.catalog, changed, self._engine.read(), awaited)
            refreshed = differences.only(accepts)
            run = self._operations.run
            gone = [
                plugin.id
                for plugin in self._keeper.catalog.values()
                if plugin.folder is None and plugin.id not in awaited and accepts(plugin.id)
            ]
            removals = await begin_in_order(
                gone,
                find_nearest(gone, self._keeper.get_dependents),
                lambda name: run("remove", name, partial(self._remove, name)),
            )
            additions = [run("add", name, partial(self._add, name)) for name in refreshed.added]
            for failure in await asyncio.gather(*additions, *removals.values(), return_exceptions=True):
                if failure is not None:
                    raise failure
            return refreshed.reject([name for name in refreshed.added if self._keeper.catalog[name].program is None])

    async def _add(self, plugin_id: str, _accepted: asyncio.Event) -> None:
        """Make a plugin known that a refresh has found, unless somebody has just started it."""
        plugin = self._keeper.catalog.get(plugin_id)
        if plugin is not None and plugin.program is not None and plugin_id not in self._engine.read():
            try:
                await self._keeper.publish([plugin])
                try:
                    await self._engine.add(plugin_id)
                except StartFailed:  # somebody may have removed its files before they were read
                    await self._keeper.publish([plugin])
                    await self._engine.add(plugin_id)
            except InvalidManifest:  # its id has just been taken
                await self._keeper.read([plugin_id])

    async def _remove(self, plugin_id: str, _accepted: asyncio.Event) -> None:
        """Stop a plugin whose folder is gone, and make the engine forget it."""
        for tries_left in reversed(range(REMOVE_TRIES)):
            try:
                await self._engine.begin_stop(plugin_id)
                await self._engine.wait_stopped(plugin_id)
            except NotRunning:
                pass
            try:
                await self._engine.remove(plugin_id)
            except AlreadyRunning as error:  # an operator's start came in between
                if not tries_left:
                    raise StopTimeout("somebody starts it again and again; refresh once more") from error
            else:
                break
        self._keeper.forget(plugin_id)
