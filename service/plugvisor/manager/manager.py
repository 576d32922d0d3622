"""The use cases: start, stop, reload and refresh. They know manifests and supervisord, and nothing of HTTP."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from plugvisor.engines.supervisord.control import ProgramControl, StopOptions
from plugvisor.engines.supervisord.registry import FOREIGN_PROGRAM, Registry, naming
from plugvisor.errors import (
    AlreadyRunning,
    InvalidManifest,
    NotRunning,
    PluginDisabled,
    PluginNotFound,
    PluginsUnreadable,
    PlugvisorError,
    SupervisorUnavailable,
)
from plugvisor.manager.operations import Operations
from plugvisor.manager.pending_restarts import OwedStarts
from plugvisor.manager.status import describe_problem
from plugvisor.models.process import Process, ProcessState
from plugvisor.plugins.catalog import Catalog, Plugin, load_catalog, load_plugin

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugvisor.engines.supervisord.client import SupervisorClient
    from plugvisor.engines.supervisord.process_table import ProcessTable
    from plugvisor.engines.supervisord.program import Program
    from plugvisor.settings import Settings

logger = logging.getLogger(__name__)

START_GRACE_SECONDS = 5.0
"""How much later than `startsecs` a process may be found running."""
RESUME_SECONDS = 1.0
"""Between two tries to go on with what was left undone, while supervisord cannot be reached."""


@dataclass(frozen=True)
class Outcome:
    """How a plugin is when its operation is answered."""

    process: Process
    finished: bool
    """False: the caller did not want to wait for the end, and the operation goes on."""


@dataclass(frozen=True)
class Refreshed:
    """What a refresh found, as sorted ids."""

    added: list[str]
    changed: list[str]
    removed: list[str]
    invalid: list[str]


class Manager:
    """Changes what runs. Its catalog is what was last read from disk, and no more.

    Every use case may raise `SupervisorUnavailable`.
    """

    def __init__(self, settings: Settings, client: SupervisorClient, process_table: ProcessTable) -> None:
        self.catalog: Catalog = {}
        self.version = 0
        """Another number whenever the catalog may be another."""
        self.on_change: list[Callable[[], object]] = []
        """Called whenever the catalog may have changed."""
        self._settings = settings
        self._client = client
        self._process_table = process_table
        self._control = ProgramControl(client, process_table, settings.run_dir)
        self._registry = Registry(settings.run_dir, client, process_table, self._control)
        self._operations = Operations()
        self._owed = OwedStarts(settings.run_dir)
        self._resuming: asyncio.Task[None] | None = None
        self._refresh_turn = asyncio.Lock()

    async def load(self) -> None:
        """Read the catalog; nothing that runs is touched, and nothing raised."""
        try:
            self.catalog = await self._load_catalog()
        except PluginsUnreadable:
            # what runs can still be watched and stopped
            published = await self._registry.read_folders()
            self.catalog = {name: Plugin(name, None, problem="the plugins folder cannot be read") for name in published}
        self._announce()

    def resume(self) -> None:
        """Go on, beside everything else, with what the service before this one has left undone."""
        self._resuming = asyncio.create_task(self._resume_all())

    async def close(self) -> None:
        """Wait for the operations under way."""
        if self._resuming is not None:
            self._resuming.cancel()
        await self._operations.close()

    async def start(self, plugin_id: str, wait_seconds: float | None = None) -> Outcome:
        """Start a plugin from its manifest as it is now; answer when supervisord has spawned the process.

        Args:
            wait_seconds: go on waiting so long for it to be running.

        Raises:
            PluginNotFound, AlreadyRunning, PluginDisabled, InvalidManifest
            StartFailed: it could not be spawned, or ended while it was waited for.
            StopTimeout: it was being stopped, by whomever, and is still alive.
        """
        self._get(plugin_id)
        process = await self._operations.run("start", plugin_id, partial(self._start, plugin_id))
        if wait_seconds:
            process = await self._watch_start("start", plugin_id, wait_seconds)
        return Outcome(process, finished=True)

    async def stop(self, plugin_id: str, wait_seconds: float | None = None) -> Outcome:
        """Stop a plugin; answer when its process is gone: SIGTERM, then SIGKILL after `stopwaitsecs`.

        Args:
            wait_seconds: answer after so long even if it is STOPPING; it is stopped all the same.

        Raises:
            PluginNotFound, NotRunning
            StopTimeout: it is still alive after SIGKILL and the deadline.
        """
        self._get(plugin_id)
        self._owed.drop(plugin_id)
        process = await self._operations.run("stop", plugin_id, partial(self._stop, plugin_id), wait_seconds)
        return Outcome(process or await self._control.get(plugin_id), finished=process is not None)

    async def reload(self, plugin_id: str, wait_seconds: float | None = None) -> Outcome:
        """Read the manifest anew, stop the plugin if it runs, apply what changed, start it; answer when it runs.

        Where the manifest cannot be used nothing is changed, and a plugin that runs goes on.

        Args:
            wait_seconds: answer after so long whatever state it is in; it is reloaded all the same.

        Raises:
            PluginNotFound, PluginDisabled, InvalidManifest, StopTimeout
            StartFailed: it could not be spawned, or ended before it was running.
        """
        self._get(plugin_id)
        loop = asyncio.get_running_loop()
        began = loop.time()
        process = await self._operations.run("reload", plugin_id, partial(self._reload, plugin_id), wait_seconds)
        if process is None:
            return Outcome(await self._control.get(plugin_id), finished=False)
        manifest = self._get(plugin_id).manifest
        timeout_seconds = START_GRACE_SECONDS + (manifest.supervisor.startsecs if manifest else 0)
        if wait_seconds is not None:
            timeout_seconds = wait_seconds - (loop.time() - began)
        process = await self._watch_start("reload", plugin_id, timeout_seconds)
        return Outcome(process, finished=process.state is not ProcessState.STARTING)

    async def refresh(self) -> Refreshed:
        """Read the whole plugins folder anew: add, note changes, remove. Starts nothing.

        A change is applied at the plugin's next start or reload. A plugin whose folder is gone is
        stopped and removed; one whose manifest is broken goes on as it was.

        Raises:
            PluginsUnreadable
            StartFailed: a new plugin's program could not be made known to supervisord.
            StopTimeout: a removed plugin's process is still alive; everything else has been done.
        """
        return await asyncio.shield(asyncio.create_task(self._refresh()))

    async def _start(self, plugin_id: str, _accepted: asyncio.Event) -> Process:
        process = await self._client.get_process(plugin_id)
        if process is not None and process.state in (ProcessState.STARTING, ProcessState.RUNNING):
            raise AlreadyRunning(f"it is {process.status} already")
        program = await self._read_program(plugin_id)
        options = await self._registry.read_stop_options(plugin_id)
        is_new = await self._registry.publish(program, process)
        if process is not None and process.state not in (ProcessState.STOPPED, ProcessState.FATAL):
            # it is being stopped, by whomever, or supervisord is about to try again by itself
            return await self._restart(program, process, options, is_new)
        return await self._registry.start(program, process, is_new)

    async def _restart(self, program: Program, process: Process | None, options: StopOptions, is_new: bool) -> Process:
        """Stop a plugin and start it as it is published."""
        if process is not None:
            self._owed.note(program.id, process)
        try:
            await self._end(program.id, options)
            started = await self._registry.start(program, await self._client.get_process(program.id), is_new)
        except Exception:  # but not where this service ends in the middle of it
            self._owed.drop(program.id)
            raise
        self._owed.drop(program.id)
        return started

    async def _resume_all(self) -> None:
        while True:
            try:
                await self._control.sweep_all()
                owed = self._owed.list_ids()
                await asyncio.gather(
                    *(self._operations.run("resume", name, partial(self._resume, name)) for name in owed)
                )
                return
            except SupervisorUnavailable:
                await asyncio.sleep(RESUME_SECONDS)
            except PlugvisorError as error:
                logger.warning("%s", error)

    async def _resume(self, plugin_id: str, _accepted: asyncio.Event) -> None:
        """Start a plugin that a killed service had stopped only to start it again."""
        process = await self._client.get_process(plugin_id)
        if process is None or not self._owed.is_owed(plugin_id, process):
            self._owed.drop(plugin_id)
            return
        logger.info("%r is started: the service has ended while it was being reloaded", plugin_id)
        try:
            await self._reload(plugin_id, asyncio.Event())
        except SupervisorUnavailable:
            self._owed.note(plugin_id, process)
            raise
        except PlugvisorError:
            self._owed.drop(plugin_id)
            raise

    async def _stop(self, plugin_id: str, accepted: asyncio.Event) -> Process:
        process = await self._end(plugin_id, await self._registry.read_stop_options(plugin_id), accepted)
        if process is None and not await self._control.sweep(plugin_id):
            raise NotRunning("it is not running")
        return process or await self._control.get(plugin_id)

    async def _reload(self, plugin_id: str, accepted: asyncio.Event) -> Process:
        program = await self._read_program(plugin_id)
        options = await self._registry.read_stop_options(plugin_id)  # the process that runs was started with these
        # What can be refused is refused before the stop: a full disk, another file's defect.
        process = await self._client.get_process(plugin_id)
        is_new = await self._registry.publish(program, process)
        accepted.set()
        return await self._restart(program, process, options, is_new)

    async def _refresh(self) -> Refreshed:
        async with self._refresh_turn:
            before = self.catalog
            fresh = await self._load_catalog()
            published = await self._registry.read_folders()
            known = (await self._client.get_processes()).keys()
            for plugin in fresh.values():
                if plugin.program and plugin.id in known - published.keys():
                    fresh[plugin.id] = replace(plugin, program=None, problem=FOREIGN_PROGRAM)
            added = [plugin for plugin in fresh.values() if plugin.program and plugin.id not in known]
            await self._registry.add([plugin.program for plugin in added if plugin.program])
            self.catalog = fresh
            self._announce()
            gone = [plugin.id for plugin in fresh.values() if plugin.folder is None]
            refreshed = Refreshed(
                added=[plugin.id for plugin in added],
                changed=[
                    plugin.id
                    for plugin in fresh.values()
                    if plugin.program and plugin not in added and plugin != before.get(plugin.id)
                ],
                removed=sorted({*before, *gone} - (fresh.keys() - set(gone))),
                invalid=[plugin.id for plugin in fresh.values() if plugin.folder and not plugin.program],
            )
            removals = [self._operations.run("remove", name, partial(self._remove, name)) for name in gone]
            for failure in await asyncio.gather(*removals, return_exceptions=True):
                if failure is not None:
                    raise failure
            return refreshed

    async def _remove(self, plugin_id: str, _accepted: asyncio.Event) -> None:
        """Stop a plugin whose folder is gone, and make supervisord forget it."""
        await self._end(plugin_id, await self._registry.read_stop_options(plugin_id))
        await self._registry.remove(plugin_id)
        self.catalog.pop(plugin_id, None)
        self._announce()

    def _announce(self) -> None:
        self.version += 1
        for callback in self.on_change:
            callback()

    def _get(self, plugin_id: str) -> Plugin:
        try:
            return self.catalog[plugin_id]
        except KeyError:
            raise PluginNotFound(plugin_id) from None

    async def _load_catalog(self) -> Catalog:
        try:
            published = await self._registry.read_folders()
            return await asyncio.to_thread(load_catalog, self._settings, published)
        except OSError as error:
            logger.error("cannot read the plugins folder: %s", error)
            raise PluginsUnreadable(
                f"cannot read the plugins folder: {error.strerror}; nothing was changed; put it back and refresh again"
            ) from error

    async def _read_program(self, plugin_id: str) -> Program:
        """The program of a plugin's manifest as it is now.

        Raises:
            PluginNotFound, InvalidManifest, PluginDisabled
        """
        plugin = self._get(plugin_id)
        if plugin.folder is not None:
            known, plugin = plugin, await asyncio.to_thread(load_plugin, plugin.folder, self._settings)
            if plugin.id != plugin_id:
                # a second claim to an id that is taken stays what it was
                moved = f"plugin.toml: its id is now {plugin.id!r}; refresh to take that over"
                problem = plugin.problem or known.problem or moved
                plugin = Plugin(plugin_id, known.folder, problem=problem)
            if plugin != known:
                self.catalog[plugin_id] = plugin
                self._announce()
        if plugin.program is None or plugin.manifest is None:
            raise InvalidManifest(describe_problem(plugin))
        if not plugin.manifest.enabled:
            raise PluginDisabled("its manifest says `enabled = false` under [plugin_runtime]; change that first")
        return plugin.program

    async def _watch_start(self, verb: str, plugin_id: str, timeout_seconds: float) -> Process:
        """Wait for a started plugin to be running without keeping its turn: a stop may come in between."""
        with naming(verb, plugin_id):
            return await self._control.watch_start(plugin_id, timeout_seconds)

    async def _end(self, plugin_id: str, options: StopOptions, accepted: asyncio.Event | None = None) -> Process | None:
        """Stop a plugin and wait until nothing of it is alive; returns None where it did not run."""
        if not await self._control.send_stop(plugin_id, options):
            return None
        if accepted is not None:
            accepted.set()
        process = await self._control.wait_until_gone(plugin_id, options.stopwaitsecs)
        await self._control.sweep(plugin_id)
        return process
