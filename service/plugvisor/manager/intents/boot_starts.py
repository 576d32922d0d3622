"""Publishes which plugins the engine starts when it starts itself."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from plugvisor.engines.engine import Engine
    from plugvisor.manager.intents.intents import Intents
    from plugvisor.plugins.catalog import Plugin

logger = logging.getLogger(__name__)

PUBLISH_SECONDS = 0.05
"""How long after one publication the next may begin; the first is at once, for supervisord may restart at any time."""


class BootStarts:
    """Keeps what the engine reads as the intents are."""

    def __init__(self, intents: Intents, engine: Engine) -> None:
        self._intents = intents
        self._engine = engine
        self._is_due = False
        self._published: dict[str, bool] | None = None
        self._task: asyncio.Task[None] | None = None
        self._written_at = -PUBLISH_SECONDS
        self._failure = ""
        """Why it could not be written at the last try: that is logged once."""

    def publish(self) -> None:
        """Publish, in a thread, if it is another than before."""
        self._is_due = True
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    def restore(self) -> None:
        """Publish it again if it is gone."""
        self._published = None
        self.publish()

    async def boot(self, plugins: Collection[Plugin]) -> None:
        """Have an engine that does not start plugins by itself start those that are new to it."""
        valid = {plugin.id: plugin for plugin in plugins if plugin.program is not None and plugin.manifest is not None}

        def is_started(plugin_id: str) -> bool:
            return is_wanted(valid[plugin_id], self._intents)

        queued = [plugin.id for plugin in valid.values() if plugin.manifest and plugin.manifest.depends_on]
        await self._engine.boot([plugin.program for plugin in valid.values()], is_started, queued)

    async def close(self) -> None:
        """Wait until what is due is published."""
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while self._is_due:
            await asyncio.sleep(max(0.0, self._written_at + PUBLISH_SECONDS - time.monotonic()))
            self._is_due = False
            starts = self._intents.starts
            if starts is not None and starts != self._published:
                await self._write(starts)
                self._written_at = time.monotonic()
        self._task = None

    async def _write(self, starts: dict[str, bool]) -> None:
        failure, self._published = "", None
        try:
            await asyncio.to_thread(self._engine.publish_starts, starts)
            self._published = starts
        except OSError as error:  # the run folder is gone; supervisord restores it
            failure = str(error)
        except Exception as error:
            logger.exception("cannot publish which plugins are started at boot")
            failure = str(error)
        if failure and failure != self._failure:
            logger.warning("it cannot be written which plugins are started at boot: %s", failure)
        self._failure = failure


def is_wanted(plugin: Plugin, intents: Intents) -> bool:
    """Whether a plugin is to run: an operator has started it last, or its manifest says so and nobody has."""
    starts_itself = plugin.manifest is not None and plugin.manifest.auto_start
    return plugin.enabled and (intents.starts or {}).get(plugin.id, starts_itself)


def is_held(plugin: Plugin, intents: Intents) -> bool:
    """Whether an operator has disabled a plugin, or stopped it last."""
    return bool(plugin.disabled_by) or (intents.starts or {}).get(plugin.id) is False
