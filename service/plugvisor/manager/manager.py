"""The use cases: start, stop, reload and refresh. They know plugins and an engine, and nothing of HTTP."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from plugvisor.errors import DependencyFailed, StartFailed
from plugvisor.manager.catalog_keeper import CatalogKeeper
from plugvisor.manager.checks.monitor import HealthMonitor
from plugvisor.manager.dependencies.conditions import Conditions
from plugvisor.manager.dependencies.preparation import Preparation
from plugvisor.manager.dependencies.scheduler import Scheduler
from plugvisor.manager.dependencies.starts import Starts
from plugvisor.manager.dependencies.stops import Stops
from plugvisor.manager.facts_keeper import FactsKeeper
from plugvisor.manager.installation.use_cases.replacements import Replacements
from plugvisor.manager.intents.boot_starts import BootStarts
from plugvisor.manager.intents.switch import Switch
from plugvisor.manager.operations import Operations, do_nothing
from plugvisor.manager.outcome import Outcome
from plugvisor.manager.readiness import Readiness, find_start_seconds
from plugvisor.manager.refresher import Refresher, every_plugin
from plugvisor.manager.restorer import Restorer
from plugvisor.models.process import Process, ProcessState

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from pathlib import Path

    from plugvisor.engines.engine import Engine
    from plugvisor.manager.facts import Facts
    from plugvisor.manager.intents.intents import Intents
    from plugvisor.manager.refresher import Refreshed
    from plugvisor.models.manifest import Manifest
    from plugvisor.plugins.catalog import Catalog

    Begun = Callable[[], object]
T = TypeVar("T")


class Manager:
    """Changes what runs. Its catalog is what was last read from disk, resolved, and no more.

    Every use case may raise `SupervisorUnavailable`.
    """

    def __init__(self, plugins_dir: Path, engine: Engine, intents: Intents, install_dir: Path | None = None) -> None:
        self._engine = engine
        self.intents = intents
        self._is_open = False
        self._operations = Operations()
        self._keeper = keeper = CatalogKeeper(plugins_dir, engine, intents.disabled, install_dir)
        self.monitor = HealthMonitor(engine, keeper.get_published)
        conditions = Conditions(keeper, engine, self.monitor, intents)
        self._facts = FactsKeeper(keeper, engine, self.monitor, conditions)
        self.note_watch = self._facts.note_watch
        """Sets what else a plugin's status says."""
        self._starts = Starts(engine, Preparation(keeper, engine, conditions), intents)
        self._scheduler = Scheduler(keeper, engine, conditions, self._operations, self._starts)
        self._readiness = Readiness(engine, self.monitor)
        self.stops = Stops(keeper, engine, self._operations, intents)
        self.switch = Switch(keeper, engine, intents, self._operations, self.stops)
        self._refresher = Refresher(keeper, engine, self._operations)
        self.replacements = Replacements(keeper, engine, self._operations, self._starts, self._readiness)
        self._boot_starts = BootStarts(intents, engine)
        self._restorer = Restorer(keeper, engine, self._operations, self._boot_starts)

    @property
    def catalog(self) -> Catalog:
        """Every plugin."""
        return self._keeper.catalog

    @property
    def version(self) -> int:
        """Another number whenever the catalog, or a plugin's facts or intent, may be others."""
        return self._keeper.version + self._facts.version + self.intents.version

    @property
    def on_change(self) -> list[Callable[[], object]]:
        """Called whenever the catalog may have changed."""
        return self._keeper.on_change

    @property
    def on_facts(self) -> list[Callable[[str], object]]:
        """Called with the id of a plugin whose facts have changed without a change of its process."""
        return self._facts.on_change

    def facts(self, plugin_id: str) -> Facts | None:
        """A plugin's health and dependencies; the same object while nothing of it changes."""
        return self._facts.get(plugin_id)

    @property
    def all_facts(self) -> Mapping[str, Facts]:
        """The facts of every plugin that has some."""
        return self._facts.all

    def get_published(self, plugin_id: str) -> Manifest | None:
        """The manifest that a plugin's process was launched with, as far as is known."""
        return self._keeper.get_published(plugin_id)

    async def load(self) -> None:
        """Read the catalog, and begin to start what is queued; nothing that runs is touched, and nothing raised."""
        self._restorer.open()
        self.intents.on_change.insert(0, self._follow_intents)
        self.intents.persistence.on_stored.append(self._boot_starts.publish)
        self._boot_starts.publish()
        await self._keeper.load()
        await self._boot_starts.boot(self.catalog.values())
        # in this order: what is said of a process that has changed is right before anybody is told of the change
        self._is_open = True
        self.monitor.open()
        self._engine.on_change.append(self._follow_process)
        self.monitor.on_change.append(self._follow_health)
        self._keeper.on_change.insert(0, self._follow_catalog)
        self._facts.update_all()
        self.intents.follow(self._engine)
        self._scheduler.open()

    async def close(self) -> None:
        """Wait for the operations under way."""
        await self._scheduler.close()
        await self._restorer.close()
        await self._operations.close()
        if self._is_open:
            self._is_open = False
            self._engine.on_change.remove(self._follow_process)
            await self.monitor.close()
        await self.intents.close()
        await self._boot_starts.close()

    async def start(
        self, plugin_id: str, wait_seconds: float | None = None, on_begun: Begun = do_nothing, *, by: str = ""
    ) -> Outcome:
        """Start a plugin from its manifest as it is now; return when its process was spawned, or its start is queued.

        Args:
            wait_seconds: go on waiting this long for it to be running, and healthy if it has ready checks.
            on_begun: called when its process was spawned, or its start was queued.
            by: the name of the identity that has asked for it, to be remembered; empty: nobody has.

        Raises:
            PluginNotFound, AlreadyRunning, PluginDisabled, InvalidManifest
            DependencyFailed: nothing was changed, or a dependency has failed while it was waited for.
            StartFailed: it could not be spawned, or ended or became unhealthy while it was waited for.
            StopTimeout: it was being stopped, and is still alive.
        """
        self._keeper.get(plugin_id)
        process = await self._operations.run("start", plugin_id, partial(self._starts.start, plugin_id, by))
        on_begun()
        if wait_seconds:
            process = await self._wait("start", plugin_id, wait_seconds)
        return await self._answer(plugin_id, process, finished=not process.queued)

    async def stop(self, plugin_id: str, wait_seconds: float | None = None, *, by: str = "") -> Outcome:
        """Stop a plugin; return when nothing of it is alive: SIGTERM, then SIGKILL after `stopwaitsecs`.

        Args:
            wait_seconds: return after this time even if it is STOPPING; it is stopped all the same.
            by: as of `start`.

        Raises:
            PluginNotFound
            NotRunning: that it is wanted stopped is remembered all the same.
            StopTimeout: it is still alive after SIGKILL and the deadline.
        """
        self._keeper.get(plugin_id)
        return await self.stops.stop(plugin_id, wait_seconds, by)

    async def reload(
        self,
        plugin_id: str,
        wait_seconds: float | None = None,
        on_begun: Begun = do_nothing,
        *,
        by: str = "",
        is_wanted: Callable[[], bool] | None = None,
    ) -> Outcome:
        """Read the manifest again, stop the plugin if it runs, apply what changed, start it; return when it works.

        If the manifest is invalid, or a dependency cannot be had, nothing is changed, and a plugin that runs goes on.

        Args:
            wait_seconds: wait at most this long; None: as long as its ready checks may take, if it is not queued.
            on_begun: called when its new process was spawned, if that is waited for, or its start was queued.
            by: as of `start`.
            is_wanted: asked in the plugin's turn, when what was asked for before has ended; if not: `NotRunning`.

        Raises:
            PluginNotFound, PluginDisabled, InvalidManifest, StopTimeout
            DependencyFailed: nothing was changed, or a dependency has failed while it was waited for.
            StartFailed: it could not be spawned, or ended or became unhealthy before it was running and healthy.
        """
        self._keeper.get(plugin_id)
        loop = asyncio.get_running_loop()
        began = loop.time()
        reload = partial(self._starts.reload, plugin_id, by, is_wanted=is_wanted)
        process = await self._operations.run("reload", plugin_id, reload, wait_seconds)
        if process is None and (process := self._engine.get(plugin_id)).start_pending:
            return await self._answer(plugin_id, process, finished=False)
        on_begun()
        manifest = self.get_published(plugin_id)
        timeout_seconds = find_start_seconds(manifest)
        if wait_seconds is not None:
            timeout_seconds = wait_seconds - (loop.time() - began)
        if not process.queued or wait_seconds:
            process = await self._wait("reload", plugin_id, timeout_seconds)
        is_starting = process.state is ProcessState.STARTING or process.start_pending or process.queued
        is_unready = process.state is ProcessState.RUNNING and self._readiness.is_awaited(plugin_id, manifest)
        return await self._answer(plugin_id, process, finished=not (is_starting or is_unready))

    async def refresh(self, accepts: Callable[[str], bool] = every_plugin) -> Refreshed:
        """Read the whole plugins folder again: add plugins, note changes, remove plugins. Starts nothing.

        A change is applied at the plugin's next start or reload. A plugin whose folder is gone is
        stopped and removed; one whose manifest is broken goes on as it was.

        Args:
            accepts: whether a plugin of this id is read, added or removed; the others stay as they were read.

        Raises:
            PluginsUnreadable
            StartFailed: a new plugin could not be made known to the engine; everything else has been done.
            StopTimeout: a removed plugin's process is still alive; everything else has been done.
        """
        return await self._operations.run_detached(self._refresher.refresh(accepts))

    async def reread(self, plugin_id: str) -> None:
        """Read a plugin's manifest again, if it is listed; nothing of it is applied, and nothing raised."""
        await self._keeper.read([plugin_id])

    async def run_detached(self, work: Coroutine[None, None, T]) -> T:
        """Run what consists of several operations; a client that disconnects does not cancel it."""
        return await self._operations.run_detached(work)

    # -- parts

    async def _answer(self, plugin_id: str, process: Process, *, finished: bool) -> Outcome:
        remembered = await self.intents.wait_stored(plugin_id)
        return Outcome(process, finished, self.facts(plugin_id), remembered)

    async def _wait(self, verb: str, plugin_id: str, seconds: float) -> Process:
        """Wait until a plugin that was started or queued works, or the time is over."""
        waiting = self._readiness.wait(plugin_id, seconds, lambda: self.get_published(plugin_id))
        try:
            return await self._operations.name_errors(verb, plugin_id, waiting)
        except StartFailed as error:
            await self.intents.wait_stored(plugin_id)
            failure = self._starts.failures.get(plugin_id)
            if failure is None or self._engine.get(plugin_id).state is not ProcessState.FATAL:
                raise
            raise DependencyFailed(f"cannot {verb} {plugin_id!r}: {failure}", failure.dependency) from error

    def _follow_process(self, plugin_id: str | None) -> None:
        if plugin_id is None or self._facts.concerns(plugin_id):
            self._facts.follow_process(plugin_id)
            self._scheduler.follow(plugin_id)
        self._readiness.waiters.wake(plugin_id)
        self.intents.follow(self._engine, plugin_id)

    def _follow_intents(self, plugin_id: str | None) -> None:
        self._keeper.follow_disabled(plugin_id)
        if plugin_id is None:
            self.intents.follow(self._engine)
        self._scheduler.follow(plugin_id)  # what waits for a plugin that was stopped

    def _follow_health(self, plugin_id: str) -> None:
        self._facts.follow_health(plugin_id)
        self._scheduler.follow(plugin_id)
        self._readiness.waiters.wake(plugin_id)

    def _follow_catalog(self) -> None:
        self._facts.follow_catalog()
        self._scheduler.look_at_all()
