"""Publishes plugins again whose files were removed, for example by a cleaner, and has folders brought here."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from plugvisor.errors import PlugvisorError, SupervisorUnavailable
from plugvisor.ticks import sleep_until_tick

if TYPE_CHECKING:
    from plugvisor.engines.engine import Engine
    from plugvisor.manager.catalog_keeper import CatalogKeeper
    from plugvisor.manager.intents.boot_starts import BootStarts
    from plugvisor.manager.operations import Operations
    from plugvisor.plugins.catalog import Plugin

logger = logging.getLogger(__name__)

CHECK_SECONDS = 1.0
BRING_SECONDS = 30.0
"""The pause before it is tried again to bring folders here that could not be had."""


class Restorer:
    """Looks once a second, from `open` to `close`."""

    def __init__(self, keeper: CatalogKeeper, engine: Engine, operations: Operations, boot_starts: BootStarts) -> None:
        self._keeper = keeper
        self._engine = engine
        self._operations = operations
        self._boot_starts = boot_starts
        self._task: asyncio.Task[None] | None = None
        self._bring_at = 0.0
        self._lost: list[str] = []
        """The plugins whose files were gone at the last look: that, and a failure, is logged once, not each second."""

    def open(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await sleep_until_tick(CHECK_SECONDS)
            self._boot_starts.restore()
            try:
                await self._bring()
                await self._restore()
            except SupervisorUnavailable:  # it fell silent meanwhile
                continue
            except Exception:
                logger.exception("cannot look for files that are gone")

    async def _bring(self) -> None:
        """Have the folders brought here that are awaited, and list the plugins whose folders cannot be had."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._bring_at or not self._engine.is_live or not self._engine.list_awaited():
            return
        await self._keeper.bring()
        self._bring_at = loop.time() + BRING_SECONDS
        for plugin_id in self._engine.list_awaited():
            if plugin_id not in self._keeper.catalog:
                self._keeper.list_unpublished(plugin_id)

    async def _restore(self) -> None:
        """Publish what is gone, each plugin in its turn."""
        if not self._engine.is_live:
            return
        catalog = self._keeper.catalog
        # one that the engine has not is published by a refresh
        ids = [name for name in self._engine.read() if name not in catalog or catalog[name].program]

        def find_lost() -> tuple[list[str], list[str]]:
            missing = self._engine.find_unpublished(ids)
            return missing, [name for name in missing if name in catalog and _has_folder(catalog[name])]

        missing, lost = await asyncio.to_thread(find_lost)
        for plugin_id in missing:
            # neither its folder nor its files are left of one that was published once
            if plugin_id not in self._keeper.catalog and plugin_id in self._engine.read():
                self._keeper.list_unpublished(plugin_id)
        is_new, self._lost = lost != self._lost, lost
        if lost and is_new:
            logger.warning("the files of %d plugins are gone; they are written again", len(lost))
        run = self._operations.run
        changes = [run("restore", plugin_id, partial(self._publish, plugin_id)) for plugin_id in lost]
        for failure in await asyncio.gather(*changes, return_exceptions=True):
            if failure is not None and not isinstance(failure, PlugvisorError):
                raise failure
            if failure is not None and is_new:
                logger.warning("%s", failure)

    async def _publish(self, plugin_id: str, _accepted: asyncio.Event) -> None:
        plugin = self._keeper.catalog.get(plugin_id)
        if plugin is not None and plugin.program is not None and await asyncio.to_thread(_has_folder, plugin):
            await self._keeper.publish([plugin])


def _has_folder(plugin: Plugin) -> bool:
    """Whether a plugin's own folder is there; one whose folder is gone too was removed by `plugvisor render`."""
    return plugin.folder is not None and plugin.folder.is_dir()
