"""The use cases: install, update, roll back, remove. One after the other for one plugin."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from plugvisor.errors import InstallationOff, PluginNotFound, PlugvisorError, TooManyOperations
from plugvisor.manager.installation.operation_tasks import OperationTasks, UnderWay, name_error
from plugvisor.manager.installation.records import describe_versions, read_record
from plugvisor.manager.installation.registry import Registry
from plugvisor.manager.installation.site import Site, find_obstacle
from plugvisor.manager.installation.uploads import Uploads
from plugvisor.manager.installation.use_cases.install import Install, InstallOptions
from plugvisor.manager.installation.use_cases.recovery import Recovery
from plugvisor.manager.installation.use_cases.removal import Rollback, Uninstallation, find_previous, find_removable
from plugvisor.manager.installation.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from plugvisor.engines.engine import Engine
    from plugvisor.manager.installation.live_operation import LiveOperation
    from plugvisor.manager.installation.registry import MakeProblem
    from plugvisor.manager.installation.uploads import Package
    from plugvisor.manager.installation.worker import Worker
    from plugvisor.manager.journal.recorder import Recorder
    from plugvisor.manager.manager import Manager
    from plugvisor.models.installation.operation import Operation, Verb
    from plugvisor.models.installation.versions import Versions
    from plugvisor.settings import Settings
    from plugvisor.store.store import Store

__all__ = ["InstallOptions", "Installations", "UnderWay"]

RECOVERY_SECONDS = 10.0
"""How long an operation waits for the recovery at the start."""


class Installations:
    """Installs, updates and removes plugins; every use case may raise `InstallationOff`.

    Args:
        make_problem: see `Registry`.
    """

    def __init__(
        self,
        manager: Manager,
        engine: Engine,
        store: Store,
        recorder: Recorder,
        settings: Settings,
        *,
        make_problem: MakeProblem,
    ) -> None:
        self.registry = Registry(store, make_problem)
        self.uploads = Uploads(settings.state_dir / "uploads", settings.package_mb * 1_000_000)
        self.why_off = "it is not known yet whether plugins can be installed"
        """Why plugins cannot be installed, for a person; empty if they can."""
        self.on_purged: list[Callable[[str], object]] = []
        """Called in a thread, with the id of a plugin whose data was removed."""
        self._manager = manager
        install_dir = settings.install_dir or settings.plugins_dir
        self._find_obstacle = partial(find_obstacle, install_dir, settings.users)
        self._site = Site(manager, engine, Workers(engine, install_dir, settings.build_seconds))
        self._recovery = Recovery(self._site, recorder)
        self._tasks = OperationTasks(self.registry, recorder, self.check_ready)

    @property
    def is_on(self) -> bool:
        """Whether plugins can be installed."""
        return not self.why_off

    async def open(self) -> None:
        """Begin the recovery from a crash; nothing is raised."""
        await self.uploads.open()
        await self.registry.load()
        self.why_off = await asyncio.to_thread(self._find_obstacle)
        if self.is_on:
            self._recovery.open()

    async def close(self) -> None:
        """Wait a while for what is under way, and cancel the rest."""
        await self._recovery.close()
        await self._tasks.close()
        await self.registry.close()

    def turn(self, plugin_id: str) -> AbstractAsyncContextManager[None]:
        """A plugin's turn, which is held while its files in the install folder are changed."""
        return self._site.turn(plugin_id)

    def open_worker(self) -> AbstractAsyncContextManager[Worker]:
        """A worker for a short task; may raise `StorageFull`, `OperationInterrupted` and others."""
        return self._site.workers.open()

    async def check_ready(self) -> None:
        """Raise `InstallationOff` or `TooManyOperations` if nothing can be installed now."""
        self.why_off = await asyncio.to_thread(self._find_obstacle)
        if self.why_off:
            raise InstallationOff(f"plugins cannot be installed here: {self.why_off}; see PLUGVISOR_INSTALL_DIR")
        self._recovery.open()  # the folder may have been away
        if not await self._recovery.wait(RECOVERY_SECONDS):
            raise TooManyOperations("what was under way when the service ended is not recovered yet; try again")

    # -- use cases

    async def install(self, package: Package, options: InstallOptions, by: str) -> UnderWay:
        """Begin to install or update a plugin; the package is closed at the end, and if this raises.

        `UnderWay.wait` raises what the worker refuses, `InvalidManifest`, `AlreadyInstalled`, `NotInstalled`,
        `DependencyFailed`, `BuildFailed`, `StartFailed`, `StorageFull`, `OperationCancelled`, `OperationInterrupted`.

        Args:
            by: the name of the identity that has asked for it.

        Raises:
            TooManyOperations, StoreUnavailable
        """
        is_update = options.replace and options.plugin_id in self._manager.catalog
        return await self._tasks.begin(
            "update" if is_update else "install",
            by,
            lambda operation: Install(self._site, operation, package, options, by).run(),
            on_end=package.close,
            plugin_id=options.plugin_id,
            sha256=package.sha256,
        )

    async def rollback(self, plugin_id: str, by: str) -> UnderWay:
        """Begin to make the version before the current one current.

        Raises:
            PluginNotFound, NotInstalled, NoPreviousVersion, TooManyOperations, StoreUnavailable
        """
        if plugin_id not in self._manager.catalog:
            raise PluginNotFound(plugin_id)
        await self._check(partial(find_previous, self._site.install_dir, plugin_id), "rollback", plugin_id)
        return await self._tasks.begin(
            "rollback", by, lambda operation: Rollback(self._site, operation).run(), plugin_id=plugin_id
        )

    async def uninstall(self, plugin_id: str, by: str, *, purge: bool, dependents: bool) -> UnderWay:
        """Begin to stop a plugin and to remove its versions.

        Args:
            purge: its data, too; one whose versions were removed before is found, too.
            dependents: stop the plugins that require it first; else they go on without it, as after a stop.

        Raises:
            PluginNotFound, NotInstalled, TooManyOperations, StoreUnavailable
        """
        is_listed = plugin_id in self._manager.catalog
        find = partial(find_removable, self._site.install_dir, plugin_id, is_listed=is_listed, purge=purge)
        await self._check(find, "uninstall", plugin_id)

        async def run(operation: LiveOperation) -> None:
            await Uninstallation(self._site, operation, by, purge=purge, dependents=dependents).run()
            for forget in self.on_purged if purge else ():
                await asyncio.to_thread(forget, plugin_id)

        return await self._tasks.begin("uninstall", by, run, plugin_id=plugin_id)

    async def cancel(self, operation_id: str) -> Operation:
        """Cancel an operation that has not changed what is current yet; returns when nothing of it is left.

        Raises:
            OperationNotFound, NotCancellable
        """
        operation = self.registry.find(operation_id)
        await self._tasks.cancel(operation)
        return operation.describe()

    async def list_versions(self, plugin_id: str) -> Versions:
        """The installed versions of a plugin; raises `PluginNotFound`, `NotInstalled`."""
        plugin = self._manager.catalog.get(plugin_id)
        if plugin is None:
            raise PluginNotFound(plugin_id)
        if plugin.folder != self._site.install_dir / plugin_id:
            return describe_versions(plugin_id, None)
        found = await asyncio.to_thread(read_record, self._site.install_dir, plugin_id)
        return describe_versions(plugin_id, found.record)

    # -- parts

    async def _check(self, check: Callable[[], object], verb: Verb, plugin_id: str) -> None:
        """Raise what would make an operation fail at once."""
        try:
            self._site.check_own(plugin_id)
            await asyncio.to_thread(check)
        except PlugvisorError as error:
            name_error(error, verb, plugin_id)
            raise
