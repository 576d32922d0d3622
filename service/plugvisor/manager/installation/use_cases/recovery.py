"""Recovers the install folder after a crash, when the service starts."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import UNSET

from plugvisor import layout
from plugvisor.errors import (
    NotInstalled,
    PluginsUnreadable,
    PlugvisorError,
    StartFailed,
    StopTimeout,
    SupervisorUnavailable,
)
from plugvisor.manager.installation.records import find_record
from plugvisor.models.stored.journal import Facts, NewEntry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plugvisor.manager.installation.site import Site
    from plugvisor.manager.installation.use_cases.replacements import Replaced
    from plugvisor.manager.installation.worker_answers import Tidied
    from plugvisor.manager.journal.recorder import Recorder
    from plugvisor.plugins.catalog import Plugin

logger = logging.getLogger(__name__)

RETRY_SECONDS = 2.0
"""The pause before a failed recovery is repeated; each is twice as long, up to the longest."""
LONGEST_PAUSE_SECONDS = 30.0
_OF_ONE_PLUGIN = (PluginsUnreadable, StartFailed, StopTimeout)
"""Errors about one plugin, which do not keep the others from being recovered."""


class Recovery:
    """Undoes unconfirmed updates; no operation begins before that is done."""

    def __init__(self, site: Site, recorder: Recorder) -> None:
        self._site = site
        self._recorder = recorder
        self._done = asyncio.Event()
        self._live = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin as soon as the engine answers; does nothing if it has begun. The install folder must exist."""
        if self._task is None:
            self._site.engine.on_change.append(self._follow)
            self._follow(None)
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Cancel the recovery."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            with suppress(ValueError):
                self._site.engine.on_change.remove(self._follow)

    async def wait(self, seconds: float) -> bool:
        """Wait until it is done, or the time is over; returns whether it is done."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._done.wait()
        return self._done.is_set()

    # -- parts

    def _follow(self, _plugin_id: str | None) -> None:
        if self._site.engine.is_live:
            self._live.set()

    async def _run(self) -> None:
        tidied: list[Tidied] = []
        is_tidy, reported, pause = False, "", RETRY_SECONDS
        while True:
            await self._live.wait()
            try:
                if not is_tidy:
                    tidied, is_tidy = await self._tidy(), True
                failed = await self._catch_up(tidied)
                await self._prune({each.id for each in tidied if each.went_back} - failed)
            except Exception as error:
                if str(error) != reported:
                    reported = str(error)
                    is_expected = isinstance(error, PlugvisorError)
                    logger.error("the install folder cannot be recovered yet: %s", error, exc_info=not is_expected)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                break
        self._site.engine.on_change.remove(self._follow)
        self._done.set()

    def _is_untouched(self) -> bool:
        """Whether nothing was ever installed, so that no worker is needed. This blocks."""
        return not self._list_installed() and not os.path.lexists(self._site.install_dir / layout.STAGING)

    def _list_installed(self) -> list[Plugin]:
        """The plugins in the catalog that were installed."""
        plugins = self._site.manager.catalog.values()
        return [plugin for plugin in plugins if plugin.directory is not None and plugin.directory != plugin.folder]

    async def _tidy(self) -> list[Tidied]:
        if await asyncio.to_thread(self._is_untouched):
            return []
        await self._site.engine.end_workers()  # those of an earlier service that do not end by themselves
        async with self._site.workers.open() as worker:
            tidied = await worker.tidy()
        for each in tidied:
            if each.went_back:
                logger.warning("an update of %r was interrupted: the version before is current again", each.id)
                self._note(each.id, "ok", "an update was interrupted: the version before is current again")
        return tidied

    async def _catch_up(self, tidied: Iterable[Tidied]) -> set[str]:
        """Refresh the catalog, and restart what runs from another version than the current one.

        Returns:
            the plugins that could not be restarted.
        """
        manager = self._site.manager
        failed = set()
        # all that are installed: the catalog was read before, and a removal may have been completed, too
        installed = {plugin.id for plugin in self._list_installed()}
        concerned = {*installed, *(each.id for each in tidied), *await self._list_removed()}
        if concerned:
            try:
                await manager.refresh(concerned.__contains__)
            except _OF_ONE_PLUGIN as error:
                logger.error("%s", error)
        outdated = await self._list_outdated()
        for plugin_id in {each.id for each in tidied}.difference(outdated):
            # until now the manifest of the version that was gone back from passed for that of the process
            manager.replacements.note_kept(plugin_id)
            manager.monitor.follow(plugin_id)
        for plugin_id in outdated:
            try:
                replaced = await manager.replacements.replace("recover", plugin_id, _do_nothing)
                if replaced.is_started:
                    logger.warning("%r was started again: it ran from a version that is not current", plugin_id)
            except SupervisorUnavailable:
                raise
            except PlugvisorError as error:
                failed.add(plugin_id)
                logger.error("%s", error)
                self._note(plugin_id, "start_failed", str(error))
        return failed

    async def _prune(self, plugin_ids: Iterable[str]) -> None:
        """Remove the versions of undone updates, from which nothing runs any more."""
        for plugin_id in plugin_ids:
            try:
                record = await asyncio.to_thread(find_record, self._site.install_dir, plugin_id)
                async with self._site.workers.open() as worker:
                    await worker.prune(plugin_id, list(record.versions))
            except NotInstalled as error:  # somebody has put something else in its place
                logger.error("cannot remove a version of %r: %s", plugin_id, error)

    async def _list_removed(self) -> list[str]:
        """The uninstalled plugins that the engine still has."""
        directories = await asyncio.to_thread(self._site.engine.read_directories)
        return [
            plugin.id
            for plugin in self._site.manager.catalog.values()
            if plugin.folder is None
            and (directory := directories.get(plugin.id)) is not None
            and layout.is_version(str(directory))
            and layout.find_root(str(directory)) == str(self._site.install_dir / plugin.id)
        ]

    async def _list_outdated(self) -> list[str]:
        """The installed plugins whose launch file names another version than the current one."""
        directories = await asyncio.to_thread(self._site.engine.read_directories)
        return [
            plugin.id
            for plugin in self._list_installed()
            if directories.get(plugin.id, plugin.directory) != plugin.directory
        ]

    def _note(self, plugin_id: str, outcome: str, detail: str) -> None:
        facts = Facts(verb="recover", outcome=outcome, detail=detail or UNSET)
        self._recorder.note(NewEntry("installation", facts, plugin_id))


async def _do_nothing(_replaced: Replaced) -> None:
    pass
