"""Goes back to the previous version of a plugin, and removes plugins."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import UNSET

from plugvisor import layout
from plugvisor.errors import NoPreviousVersion, NotInstalled, NotRunning, PluginNotFound, StoreUnavailable
from plugvisor.manager.installation.records import find_record, is_whole, read_record
from plugvisor.manager.installation.site import outlast_silence
from plugvisor.manager.installation.use_cases.version_change import VersionChange, add_version
from plugvisor.models.installation.record import Record

if TYPE_CHECKING:
    from pathlib import Path

    from plugvisor.manager.installation.live_operation import LiveOperation
    from plugvisor.manager.installation.site import Site
    from plugvisor.manager.installation.worker import Worker
    from plugvisor.manager.outcome import Outcome

STOP_PERCENT, REMOVE_PERCENT, REFRESH_PERCENT = 10, 40, 80


def find_previous(install_dir: Path, plugin_id: str) -> Record:
    """The record of a plugin that can be rolled back. This blocks.

    Raises:
        NotInstalled, NoPreviousVersion
    """
    record = find_record(install_dir, plugin_id)
    previous = record.previous
    if record.current is None or previous not in record.versions or not is_whole(install_dir, plugin_id, previous):
        raise NoPreviousVersion("there is no version before the current one; install the one that is wanted")
    return record


def find_removable(install_dir: Path, plugin_id: str, *, is_listed: bool, purge: bool) -> Record:
    """The record of a plugin that can be removed. This blocks.

    Args:
        is_listed: whether the catalog has it.
        purge: whether its data is to be removed, too, for which its versions may be gone already.

    Raises:
        PluginNotFound, NotInstalled
    """
    found = read_record(install_dir, plugin_id)
    if not is_listed and (found.record is None or (found.record.current is None and not purge)):
        raise PluginNotFound(plugin_id)
    record = found.record or find_record(install_dir, plugin_id)
    # the worker refuses it, but the plugin would be stopped by then
    foreign = sorted(set(os.listdir(install_dir / plugin_id)) - layout.OWN)
    if foreign:
        raise NotInstalled(f"its folder holds {foreign[0]!a}, which was put there by hand; move that elsewhere")
    return record


class Rollback:
    """One rollback."""

    def __init__(self, site: Site, operation: LiveOperation) -> None:
        self._site = site
        self._operation = operation

    async def run(self) -> None:
        """Make the version before the current one current."""
        plugin_id = self._operation.plugin_id
        async with self._site.turn(plugin_id):
            self._site.check_own(plugin_id)
            record = await asyncio.to_thread(find_previous, self._site.install_dir, plugin_id)
            assert record.previous is not None
            entry, current = record.versions[record.previous], record.versions.get(record.current or "")
            self._operation.set(version=entry.version, previous_version=(current and current.version) or UNSET)
            after = add_version(record, record.previous, entry)
            change = VersionChange(self._site, self._operation, record, after)
            async with self._site.workers.open() as worker:
                await change.begin(worker)
            await change.finish()


class Uninstallation:
    """One removal.

    Args:
        purge: remove its data, too.
        dependents: stop the plugins that require it first.
    """

    def __init__(self, site: Site, operation: LiveOperation, by: str, *, purge: bool, dependents: bool) -> None:
        self._site = site
        self._operation = operation
        self._by = by
        self._purge = purge
        self._dependents = dependents

    async def run(self) -> None:
        """Stop the plugin, remove its versions, and remove it from the catalog."""
        plugin_id, manager = self._operation.plugin_id, self._site.manager
        async with self._site.turn(plugin_id):
            self._site.check_own(plugin_id)
            is_listed = plugin_id in manager.catalog
            record = await asyncio.to_thread(
                lambda: find_removable(self._site.install_dir, plugin_id, is_listed=is_listed, purge=self._purge)
            )
            current = record.versions.get(record.current or "")
            self._operation.set(previous_version=(current and current.version) or UNSET)
            self._operation.commit()
            if is_listed:
                self._operation.reach("swap", STOP_PERCENT, f"stopping {plugin_id}")
                await self._stop(plugin_id)
            what = "its versions and its data" if self._purge else "its versions"
            self._operation.reach("swap", REMOVE_PERCENT, f"removing {what}")
            await self._remove(record)
            self._operation.reach("swap", REFRESH_PERCENT)
            await outlast_silence(lambda: manager.refresh({plugin_id}.__contains__))
            manager.intents.drop(plugin_id)
            with suppress(StoreUnavailable):  # it is enabled in memory, and may be disabled after a restart
                await manager.intents.enable(plugin_id)

    async def _stop(self, plugin_id: str) -> None:
        manager = self._site.manager
        dependents = manager.stops.list_running_dependents([plugin_id]) if self._dependents else []
        result: Outcome | BaseException
        if dependents:
            results = await manager.stops.stop_with_dependents(plugin_id, dependents, by=self._by)
            result = results[plugin_id]
            if isinstance(result, BaseException) and not isinstance(result, NotRunning):
                raise result
            return
        try:
            await manager.stop(plugin_id, by=self._by)
        except NotRunning:
            self._operation.note(f"{plugin_id} did not run")

    async def _remove(self, record: Record) -> None:
        async def remove(worker: Worker) -> None:
            await worker.remove(record.id, Record(id=record.id), purge=self._purge)

        await self._site.workers.persist(remove, self._operation.note)
