"""Starts the plugins that are queued, when the conditions of their dependencies are met.

The engine keeps who is queued, so that nothing is lost with this service: a scheduler that begins goes on from there.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from plugvisor.errors import DependencyFailed, PlugvisorError, SupervisorUnavailable
from plugvisor.manager.dependencies.conditions import Verdict
from plugvisor.models.process import NEVER_ADDED, NOT_STARTED

if TYPE_CHECKING:
    from collections.abc import Collection

    from plugvisor.engines.engine import Engine
    from plugvisor.manager.catalog_keeper import CatalogKeeper
    from plugvisor.manager.dependencies.conditions import Conditions, Need
    from plugvisor.manager.dependencies.starts import Starts
    from plugvisor.manager.operations import Operations

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""After a call that the engine has not answered; usually the engine announces before that that it is back."""


class Scheduler:
    """Looks at each queued plugin whenever something that it waits for changes, from `open` to `close`."""

    def __init__(
        self,
        keeper: CatalogKeeper,
        engine: Engine,
        conditions: Conditions,
        operations: Operations,
        starts: Starts,
    ) -> None:
        self._keeper = keeper
        self._engine = engine
        self._conditions = conditions
        self._operations = operations
        self._starts = starts
        self._is_open = False
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._held: dict[str, str] = {}  # queued at boot, and the plugin that they wait for, which is not wanted
        self._again: set[str] = set()  # something has changed while the plugin's task was under way

    def open(self) -> None:
        """Begin to start what is queued."""
        self._is_open = True
        self.look_at_all()

    async def close(self) -> None:
        """Start nothing more."""
        self._is_open = False
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=RETRY_SECONDS)

    def follow(self, plugin_id: str | None) -> None:
        """A process or a health has changed; with None, every one may have."""
        if plugin_id is None:
            self.look_at_all()
        elif self._is_open and self._engine.is_live:
            self._look_at(plugin_id)
            held = [name for name, unwanted in self._held.items() if unwanted == plugin_id]
            for name in {*self._keeper.get_dependents(plugin_id), *held}:
                self._look_at(name)

    def look_at_all(self) -> None:
        """Look at every queued plugin."""
        if self._is_open and self._engine.is_live:
            for plugin_id, process in list(self._engine.read().items()):
                if process.queued:
                    self._look_at(plugin_id)

    def _look_at(self, plugin_id: str) -> None:
        process = self._engine.read().get(plugin_id, NEVER_ADDED)
        if not process.queued:
            return
        if plugin_id in self._tasks:
            self._again.add(plugin_id)
        elif process.queued == "boot" or self._find_blocking(plugin_id) is None:
            self._begin(plugin_id)

    def _is_unusable(self, plugin_id: str) -> bool:
        """Whether a queued plugin has become invalid or disabled while it waits."""
        plugin = self._keeper.catalog.get(plugin_id)
        return plugin is not None and not plugin.enabled

    def _find_blocking(self, plugin_id: str) -> Need | None:
        """The dependency that a queued plugin waits for; None if it can be started, or must be given up."""
        if self._is_unusable(plugin_id):
            return None
        needs = self._conditions.judge(self._keeper.get_requirements(plugin_id, queued=True))
        if any(need.verdict is Verdict.FAILED for need in needs):
            return None
        return next((need for need in needs if need.verdict is Verdict.PENDING), None)

    def _begin(self, plugin_id: str) -> None:
        self._tasks[plugin_id] = asyncio.create_task(self._run(plugin_id))

    async def _run(self, plugin_id: str) -> None:
        try:
            await self._operations.run("start", plugin_id, partial(self._serve, plugin_id))
        except SupervisorUnavailable:
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._retry, plugin_id)
        except PlugvisorError as error:
            logger.warning("%s", error)
        except Exception:
            logger.exception("cannot start %r", plugin_id)
        finally:
            del self._tasks[plugin_id]
            if plugin_id in self._again:
                self._again.discard(plugin_id)
                self._retry(plugin_id)

    def _retry(self, plugin_id: str) -> None:
        if self._is_open and self._engine.is_live:
            self._look_at(plugin_id)

    async def _serve(self, plugin_id: str, _accepted: asyncio.Event) -> None:
        """Start a queued plugin, queue what it needs, or give it up; in its turn, before which all may have changed."""
        process = self._engine.get(plugin_id)
        self._held.pop(plugin_id, None)
        if not process.queued:
            return
        if process.queued == "boot" and (unwanted := self._conditions.find_unwanted(plugin_id)) is not None:
            self._held[plugin_id] = unwanted  # nobody has asked for a start since it was stopped
            return
        awaited: Collection[str] = ()
        try:
            if process.queued == "asked":
                awaited = requirements = self._keeper.get_requirements(plugin_id, queued=True)
                if not self._is_unusable(plugin_id):  # else the reading below says so
                    self._conditions.check(requirements)
                if self._find_blocking(plugin_id) is not None:
                    return
            await self._starts.begin(plugin_id, awaited)
        except SupervisorUnavailable:
            raise
        except Exception as error:
            if self._engine.get(plugin_id).queued:
                await self._give_up(plugin_id, error)
            raise

    async def _give_up(self, plugin_id: str, error: Exception) -> None:
        plugin = self._keeper.catalog.get(plugin_id)
        if plugin is not None and plugin.disabled_by:
            await self._engine.begin_stop(plugin_id)  # it has not failed
            return
        if isinstance(error, DependencyFailed):
            self._starts.failures[plugin_id] = DependencyFailed(str(error), error.dependency)
        is_expected = isinstance(error, PlugvisorError)
        reason = str(error) if is_expected else "a defect of the service, whose log has the details"
        reason = f"{NOT_STARTED}: {reason}"
        await self._engine.fail(plugin_id, reason)
