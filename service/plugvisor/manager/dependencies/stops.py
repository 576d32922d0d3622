"""Stops plugins in the reverse order of their dependencies."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from plugvisor.errors import NotRunning
from plugvisor.manager.dependencies.order import begin_in_order, find_nearest
from plugvisor.manager.operations import log_failure
from plugvisor.manager.outcome import Outcome, report_stop
from plugvisor.models.process import NEVER_ADDED, Process

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from plugvisor.engines.engine import Engine
    from plugvisor.manager.catalog_keeper import CatalogKeeper
    from plugvisor.manager.intents.intents import Intents
    from plugvisor.manager.operations import Operations


class Stops:
    """Stops one plugin or many; each waits for its own dependents among them, and for nothing else."""

    def __init__(self, keeper: CatalogKeeper, engine: Engine, operations: Operations, intents: Intents) -> None:
        self._keeper = keeper
        self._engine = engine
        self._operations = operations
        self._intents = intents

    async def stop(
        self, plugin_id: str, wait_seconds: float | None, by: str = "", *, is_shared: bool = True
    ) -> Outcome:
        """Stop one plugin; see `Manager.stop`.

        Args:
            is_shared: a client that asks for a stop meanwhile shares this one.
        """
        stop = partial(self._stop, plugin_id, by)
        process = await self._operations.run("stop", plugin_id, stop, wait_seconds, is_shared=is_shared)
        outcome = Outcome(process, finished=True) if process else report_stop(self._engine.get(plugin_id))
        return replace(outcome, remembered=await self._intents.wait_stored(plugin_id))

    async def stop_with_dependents(
        self, plugin_id: str, dependents: Sequence[str], wait_seconds: float | None = None, *, by: str = ""
    ) -> dict[str, Outcome | BaseException]:
        """Stop some plugins that require another one, and then that; returns what became of each.

        What became of that one is the failure of a dependent, if there is one. Raises `PluginNotFound`. A client that
        disconnects does not cancel it.

        Args:
            dependents: of `list_running_dependents`; at least one.
            wait_seconds: as of `stop_many`.
            by: as of `Manager.start`; it is remembered of the dependents, too.
        """
        self._keeper.get(plugin_id)
        stopping = self._stop_with_dependents(plugin_id, dependents, wait_seconds, by)
        return await self._operations.run_detached(stopping)

    async def stop_many(
        self, plugin_ids: Collection[str], wait_seconds: float | None = None, *, by: str = ""
    ) -> dict[str, Outcome | BaseException]:
        """Stop plugins, each after its dependents among them; returns what became of each.

        Args:
            wait_seconds: return after this time, whatever has ended by then; all are stopped all the same.
            by: as of `Manager.start`.
        """
        plugin_ids = [plugin_id for plugin_id in plugin_ids if plugin_id in self._keeper.catalog]
        before = find_nearest(plugin_ids, self._keeper.get_dependents)
        tasks = await begin_in_order(plugin_ids, before, partial(self.stop, wait_seconds=None, by=by))
        for task in tasks.values():
            self._operations.keep(task)
        waiting = [self._wait(name, tasks[name], wait_seconds, is_first=name not in before) for name in plugin_ids]
        results = await asyncio.gather(*waiting, return_exceptions=True)
        return dict(zip(plugin_ids, results, strict=True))

    def list_running_dependents(self, plugin_ids: Sequence[str]) -> list[str]:
        """The plugins that require some of these, directly or not, and have not ended; they themselves are left out."""
        processes = self._engine.read()
        found: dict[str, None] = {}
        to_visit = list(plugin_ids)
        while to_visit:
            dependency = to_visit.pop()
            for name in self._keeper.get_dependents(dependency):
                process = processes.get(name, NEVER_ADDED)
                requirement = self._keeper.get_requirements(name, queued=bool(process.queued)).get(dependency)
                is_affected = requirement is not None and requirement.required and name not in plugin_ids
                if is_affected and name not in found and not process.is_at_rest:
                    found[name] = None
                    to_visit.append(name)
        return list(found)

    async def _stop_with_dependents(
        self, plugin_id: str, dependents: Sequence[str], wait_seconds: float | None, by: str
    ) -> dict[str, Outcome | BaseException]:
        results = await self.stop_many([*dependents, plugin_id], wait_seconds, by=by)
        if failure := find_failure(results.values()):
            results[plugin_id] = failure
        elif isinstance(results[plugin_id], NotRunning):  # its dependents ran
            remembered = await self._intents.wait_stored(plugin_id)
            results[plugin_id] = Outcome(self._engine.get(plugin_id), finished=True, remembered=remembered)
        return results

    async def _stop(self, plugin_id: str, by: str, accepted: asyncio.Event) -> Process:
        runs = not self._engine.get(plugin_id).is_at_rest
        try:
            async with self._intents.attempt(plugin_id, "stopped", by if runs else ""):
                await self._engine.begin_stop(plugin_id)
        except NotRunning:
            await self._want_stopped(plugin_id, by)
            raise
        if not runs:  # somebody has just started it
            self._intents.set(plugin_id, "stopped", by)
        accepted.set()
        return await self._engine.wait_stopped(plugin_id)

    async def _want_stopped(self, plugin_id: str, by: str) -> None:
        """Remember the stop of a plugin that does not run: the next boot might start it."""
        intent = self._intents.all.get(plugin_id)
        if intent is None or intent.wanted != "stopped":
            self._intents.set(plugin_id, "stopped", by)
            await self._intents.wait_stored(plugin_id)

    async def _wait(
        self, plugin_id: str, task: asyncio.Task[Outcome], wait_seconds: float | None, *, is_first: bool
    ) -> Outcome:
        if wait_seconds is None or task.done():
            return await asyncio.shield(task)
        if is_first:  # it has begun: whether it can be stopped is known before the time is over
            task.add_done_callback(asyncio.Task.exception)  # the failure is that of the stop that is shared here
            return await self.stop(plugin_id, wait_seconds)
        await asyncio.wait([task], timeout=wait_seconds)
        if task.done():
            return task.result()
        task.add_done_callback(log_failure)
        return Outcome(self._engine.get(plugin_id), finished=False)


def find_failure(results: Collection[Outcome | BaseException]) -> BaseException | None:
    """The first failure; a plugin that did not run was no failure."""
    failures = [result for result in results if isinstance(result, BaseException)]
    return next((failure for failure in failures if not isinstance(failure, NotRunning)), None)
