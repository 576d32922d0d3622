"""Starts and reloads a plugin, or queues it and what has to be started first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugvisor.errors import AlreadyRunning, NotRunning
from plugvisor.models.process import Process, ProcessState

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Collection

    from plugvisor.engines.engine import Engine
    from plugvisor.errors import DependencyFailed
    from plugvisor.manager.dependencies.preparation import Preparation
    from plugvisor.manager.intents.intents import Intents


class Starts:
    """Each of its methods is called in the plugin's turn.

    `by` is the name of the identity that has asked for it, to be remembered; empty: nobody has.
    """

    def __init__(self, engine: Engine, preparation: Preparation, intents: Intents) -> None:
        self.failures: dict[str, DependencyFailed] = {}
        """By plugin, the dependency for which its queued start was given up, until it is started again."""
        self._engine = engine
        self._preparation = preparation
        self._intents = intents

    async def start(self, plugin_id: str, by: str, _accepted: asyncio.Event) -> Process:
        """Start a plugin that does not run; see `Manager.start`."""
        process = self._engine.get(plugin_id)
        if process.state in (ProcessState.STARTING, ProcessState.RUNNING):
            raise AlreadyRunning(f"it is {process.status} already")
        return await self.begin(plugin_id, by=by)

    async def begin(self, plugin_id: str, awaited: Collection[str] = (), by: str = "") -> Process:
        """Prepare a plugin, and start or queue it.

        Args:
            awaited: the dependencies that were started for it already.
        """
        self.failures.pop(plugin_id, None)
        to_queue = await self._preparation.prepare(plugin_id, awaited, is_asked=bool(by))
        async with self._intents.attempt(plugin_id, "running", by):
            process = await (self._preparation.queue(to_queue) if to_queue else self._engine.start(plugin_id))
        self._want(to_queue[:-1], by)
        return process

    async def reload(
        self, plugin_id: str, by: str, accepted: asyncio.Event, is_wanted: Callable[[], bool] | None = None
    ) -> Process:
        """Start a plugin again; see `Manager.reload`."""
        if is_wanted is not None and not is_wanted():
            raise NotRunning("it was stopped meanwhile")
        # What can be rejected is rejected before the stop: a broken manifest, a full disk.
        self.failures.pop(plugin_id, None)
        to_queue = await self._preparation.prepare(plugin_id, is_asked=bool(by))
        async with self._intents.attempt(plugin_id, "running", by):
            if to_queue:
                process = await self._preparation.queue(to_queue, restart=plugin_id)
                self._want(to_queue[:-1], by)
                return process
            await self._engine.begin_restart(plugin_id)
        accepted.set()
        return await self._engine.wait_spawned(plugin_id)

    def _want(self, plugin_ids: Collection[str], by: str) -> None:
        """Plugins are started because somebody wants one that requires them: an earlier stop counts no more."""
        for plugin_id in plugin_ids if by else ():
            intent = self._intents.all.get(plugin_id)
            if intent is not None and intent.wanted == "stopped":
                self._intents.drop(plugin_id)
