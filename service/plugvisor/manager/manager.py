"""The use cases: start, stop, reload and refresh. They know plugins and an engine, and nothing of HTTP."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from plugvisor.errors import (
    AlreadyRunning,
    InvalidManifest,
    NotRunning,
    PluginDisabled,
    PluginNotFound,
    PluginsUnreadable,
    StartFailed,
    StopTimeout,
)
from plugvisor.manager.catalog_reader import CatalogReader
from plugvisor.manager.operations import Operations
from plugvisor.manager.outcome import Outcome, report_stop
from plugvisor.manager.refresh import Refreshed, list_differences
from plugvisor.manager.restorer import Restorer
from plugvisor.manager.status import describe_problem
from plugvisor.models.process import Process, ProcessState
from plugvisor.plugins.catalog import NO_FOLDER, Catalog, Plugin
from plugvisor.plugins.dependencies import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from plugvisor.engines.engine import Engine

T = TypeVar("T")

REMOVE_TRIES = 3
"""How often a plugin is stopped that somebody starts again before it can be removed."""
START_GRACE_SECONDS = 5.0
"""How much later than `startsecs` a process may be found running."""


def _do_nothing() -> None:
    pass


class Manager:
    """Changes what runs. Its catalog is what was last read from disk, resolved, and no more.

    Every use case may raise `SupervisorUnavailable`.
    """

    def __init__(self, plugins_dir: Path, engine: Engine) -> None:
        self.catalog: Catalog = {}
        self.version = 0
        """Another number whenever the catalog may be another."""
        self.on_change: list[Callable[[], object]] = []
        """Called whenever the catalog may have changed."""
        self._read: Catalog = {}
        """Each plugin by itself, of which the catalog is made."""
        self._engine = engine
        self._reader = CatalogReader(plugins_dir, engine)
        self._operations = Operations()
        self._restorer = Restorer(lambda: self.catalog, engine, self._operations, self._list_unpublished)
        self._refresh_turn = asyncio.Lock()
        self._readings = 0
        self._read_at: dict[str, int] = {}  # which of the readings by a start or reload was a plugin's last

    async def load(self) -> None:
        """Read the catalog; nothing that runs is touched, and nothing raised."""
        self._restorer.open()
        try:
            self._read = await self._reader.read_all(self._read)
        except PluginsUnreadable:
            # what runs can still be watched and stopped
            published = await asyncio.to_thread(self._engine.read_published)
            self._read = {name: Plugin(name, None, problem="the plugins folder cannot be read") for name in published}
        self._resolve()

    async def close(self) -> None:
        """Wait for the operations under way."""
        await self._restorer.close()
        await self._operations.close()

    async def start(
        self, plugin_id: str, wait_seconds: float | None = None, on_spawned: Callable[[], object] = _do_nothing
    ) -> Outcome:
        """Start a plugin from its manifest as it is now; return when its process was spawned.

        Args:
            wait_seconds: go on waiting this long for it to be running.
            on_spawned: called when its process was spawned.

        Raises:
            PluginNotFound, AlreadyRunning, PluginDisabled, InvalidManifest
            StartFailed: it could not be spawned, or ended while it was waited for.
            StopTimeout: it was being stopped, and is still alive.
        """
        self._get(plugin_id)
        process = await self._operations.run("start", plugin_id, partial(self._start, plugin_id))
        on_spawned()
        if wait_seconds:
            process = await self._operations.name_errors(
                "start", plugin_id, self._engine.wait_running(plugin_id, wait_seconds)
            )
        return Outcome(process, finished=True)

    async def stop(self, plugin_id: str, wait_seconds: float | None = None) -> Outcome:
        """Stop a plugin; return when nothing of it is alive: SIGTERM, then SIGKILL after `stopwaitsecs`.

        Args:
            wait_seconds: return after this time even if it is STOPPING; it is stopped all the same.

        Raises:
            PluginNotFound, NotRunning
            StopTimeout: it is still alive after SIGKILL and the deadline.
        """
        self._get(plugin_id)
        process = await self._operations.run("stop", plugin_id, partial(self._stop, plugin_id), wait_seconds)
        return Outcome(process, finished=True) if process else report_stop(self._engine.get(plugin_id))

    async def reload(
        self, plugin_id: str, wait_seconds: float | None = None, on_spawned: Callable[[], object] = _do_nothing
    ) -> Outcome:
        """Read the manifest again, stop the plugin if it runs, apply what changed, start it; return when it runs.

        If the manifest is invalid nothing is changed, and a plugin that runs goes on.

        Args:
            wait_seconds: return after this time whatever state it is in; it is reloaded all the same.
            on_spawned: called when its new process was spawned, if that is waited for.

        Raises:
            PluginNotFound, PluginDisabled, InvalidManifest, StopTimeout
            StartFailed: it could not be spawned, or ended before it was running.
        """
        self._get(plugin_id)
        loop = asyncio.get_running_loop()
        began = loop.time()
        process = await self._operations.run("reload", plugin_id, partial(self._reload, plugin_id), wait_seconds)
        if process is None and (process := self._engine.get(plugin_id)).start_pending:
            return Outcome(process, finished=False)
        on_spawned()
        manifest = self._get(plugin_id).manifest
        timeout_seconds = START_GRACE_SECONDS + (manifest.supervisor.startsecs if manifest else 0)
        if wait_seconds is not None:
            timeout_seconds = wait_seconds - (loop.time() - began)
        process = await self._operations.name_errors(
            "reload", plugin_id, self._engine.wait_running(plugin_id, timeout_seconds)
        )
        return Outcome(process, finished=process.state is not ProcessState.STARTING)

    async def refresh(self) -> Refreshed:
        """Read the whole plugins folder again: add plugins, note changes, remove plugins. Starts nothing.

        A change is applied at the plugin's next start or reload. A plugin whose folder is gone is
        stopped and removed; one whose manifest is broken goes on as it was.

        Raises:
            PluginsUnreadable
            StartFailed: a new plugin could not be made known to the engine; everything else has been done.
            StopTimeout: a removed plugin's process is still alive; everything else has been done.
        """
        return await self._operations.run_detached(self._refresh())

    async def run_detached(self, work: Coroutine[None, None, T]) -> T:
        """Run what consists of several operations; a client that disconnects does not cancel it."""
        return await self._operations.run_detached(work)

    # -- the operations, each in its plugin's turn

    async def _start(self, plugin_id: str, _accepted: asyncio.Event) -> Process:
        process = self._engine.get(plugin_id)
        if process.state in (ProcessState.STARTING, ProcessState.RUNNING):
            raise AlreadyRunning(f"it is {process.status} already")
        await self._publish(plugin_id)
        return await self._engine.start(plugin_id)

    async def _stop(self, plugin_id: str, accepted: asyncio.Event) -> Process:
        await self._engine.begin_stop(plugin_id)
        accepted.set()
        return await self._engine.wait_stopped(plugin_id)

    async def _reload(self, plugin_id: str, accepted: asyncio.Event) -> Process:
        # What can be rejected is rejected before the stop: a broken manifest, a full disk.
        await self._publish(plugin_id)
        await self._engine.begin_restart(plugin_id)
        accepted.set()
        return await self._engine.wait_spawned(plugin_id)

    async def _add(self, plugin_id: str, _accepted: asyncio.Event) -> None:
        """Make a plugin known that a refresh has found, unless somebody has just started it."""
        plugin = self.catalog.get(plugin_id)
        if plugin is not None and plugin.program is not None and plugin_id not in self._engine.read():
            try:
                await self._publish_and_add(plugin)
            except InvalidManifest:  # its id has just been taken
                self._read[plugin_id] = await asyncio.to_thread(self._reader.read_again, self._read[plugin_id])
                self._resolve()

    async def _publish_and_add(self, plugin: Plugin) -> None:
        await asyncio.to_thread(self._engine.publish, plugin.program)
        try:
            await self._engine.add(plugin.id)
        except StartFailed:  # somebody may have removed its files before they were read
            await asyncio.to_thread(self._engine.publish, plugin.program)
            await self._engine.add(plugin.id)

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
        self._read.pop(plugin_id, None)
        self._resolve()

    async def _refresh(self) -> Refreshed:
        async with self._refresh_turn:
            before = dict(self._read)
            began = self._readings
            fresh = await self._reader.read_all(self._read)
            for plugin_id in before | fresh:
                if self._read_at.get(plugin_id, 0) > began:  # a start or a reload has read it since
                    fresh[plugin_id] = self._read[plugin_id]
            self._read = dict(sorted(fresh.items()))
            self._resolve()
            changed = {plugin_id for plugin_id, plugin in self._read.items() if plugin != before.get(plugin_id)}
            refreshed = list_differences(before, self.catalog, changed, self._engine.read())
            run = self._operations.run
            changes = [run("add", name, partial(self._add, name)) for name in refreshed.added]
            changes += [
                run("remove", plugin.id, partial(self._remove, plugin.id))
                for plugin in self.catalog.values()
                if plugin.folder is None
            ]
            for failure in await asyncio.gather(*changes, return_exceptions=True):
                if failure is not None:
                    raise failure
            return refreshed.reject([name for name in refreshed.added if self.catalog[name].program is None])

    # -- parts

    def _resolve(self) -> None:
        """Make the catalog of what was read, and announce it."""
        self.catalog = resolve(self._read, self.catalog)
        self.version += 1
        for callback in self.on_change:
            callback()

    def _get(self, plugin_id: str) -> Plugin:
        try:
            return self.catalog[plugin_id]
        except KeyError:
            raise PluginNotFound(plugin_id) from None

    def _list_unpublished(self, plugin_id: str) -> None:
        """List a plugin that can only be stopped; a refresh removes it."""
        self._read = dict(sorted({**self._read, plugin_id: Plugin(plugin_id, None, problem=NO_FOLDER)}.items()))
        self._resolve()

    async def _publish(self, plugin_id: str) -> None:
        """Read a plugin's manifest as it is now, and have the engine write what its next start uses.

        Raises:
            PluginNotFound, InvalidManifest, PluginDisabled, StartFailed
        """
        known = self._get(plugin_id)
        read = self._read[plugin_id]

        def read_and_publish() -> Plugin:
            fresh = self._reader.read_again(read)
            # what changes in a manifest may close a cycle, which must not be published
            plugin = known if fresh == read else resolve({**self._read, plugin_id: fresh})[plugin_id]
            if plugin.program is not None and plugin.enabled:
                self._engine.publish(plugin.program)
            return fresh

        fresh = await asyncio.to_thread(read_and_publish)
        self._readings += 1
        self._read_at[plugin_id] = self._readings
        if fresh != read:
            self._read[plugin_id] = fresh
            self._resolve()
        plugin = self.catalog.get(plugin_id, known)  # a refresh may have found its folder gone meanwhile
        if plugin.program is None or plugin.manifest is None:
            raise InvalidManifest(describe_problem(plugin))
        if not plugin.manifest.enabled:
            raise PluginDisabled("its manifest says `enabled = false` under [plugin_runtime]; change that first")
