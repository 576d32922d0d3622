"""Publishes plugins again whose files somebody has removed, such as a cleaner of temporary files."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from plugvisor.errors import PlugvisorError

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugvisor.engines.engine import Engine
    from plugvisor.manager.operations import Operations
    from plugvisor.plugins.catalog import Catalog

logger = logging.getLogger(__name__)

CHECK_SECONDS = 1.0


class Restorer:
    """Looks once a second, from `open` to `close`.

    Args:
        list_plugin: called with the id of a plugin that the engine has and the catalog has not, if it was published
            once: neither its folder nor its files are left.
    """

    def __init__(
        self,
        get_catalog: Callable[[], Catalog],
        engine: Engine,
        operations: Operations,
        list_plugin: Callable[[str], object],
    ) -> None:
        self._get_catalog = get_catalog
        self._list_plugin = list_plugin
        self._engine = engine
        self._operations = operations
        self._task: asyncio.Task[None] | None = None

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
            await asyncio.sleep(CHECK_SECONDS)
            try:
                await self._restore()
            except Exception:
                logger.exception("cannot look for files that are gone")

    async def _restore(self) -> None:
        """Publish what is gone, each plugin in its turn."""
        if not self._engine.is_live:
            return
        catalog = self._get_catalog()
        # one that the engine has not is published by a refresh
        ids = [name for name in self._engine.read() if name not in catalog or catalog[name].program]
        missing = await asyncio.to_thread(self._engine.find_unpublished, ids)
        for plugin_id in missing:
            if plugin_id not in self._get_catalog() and plugin_id in self._engine.read():
                self._list_plugin(plugin_id)
        missing = [name for name in missing if name in catalog]
        if not missing:
            return
        logger.warning("the files of %d plugins are gone; they are written again", len(missing))
        run = self._operations.run
        changes = [run("restore", plugin_id, partial(self._publish, plugin_id)) for plugin_id in missing]
        for failure in await asyncio.gather(*changes, return_exceptions=True):
            if failure is not None:
                logger.warning("%s", failure)
                if not isinstance(failure, PlugvisorError):
                    raise failure

    async def _publish(self, plugin_id: str, _accepted: asyncio.Event) -> None:
        plugin = self._get_catalog().get(plugin_id)

        def publish() -> None:
            # one whose folder is gone too was removed by `plugvisor render`
            if plugin is not None and plugin.program is not None and plugin.folder and plugin.folder.is_dir():
                self._engine.publish(plugin.program)

        await asyncio.to_thread(publish)
