"""Reloads each plugin that asks for it when its files change."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from typing import TYPE_CHECKING

from plugvisor.errors import SupervisorUnavailable
from plugvisor.manager.watch.arrangement import Arrangement
from plugvisor.manager.watch.plugin_watch import PluginWatch, Wanted
from plugvisor.manager.watch.rules import Rules
from plugvisor.manager.watch.sorting import sort_changes
from plugvisor.models.lifecycle import Watch
from plugvisor.models.process import NEVER_ADDED, ProcessState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from plugvisor.engines.engine import Engine
    from plugvisor.errors import PlugvisorError
    from plugvisor.manager.journal.recorder import Recorder
    from plugvisor.manager.manager import Manager
    from plugvisor.manager.watch.folder_watches import Changes
    from plugvisor.plugins.catalog import Plugin
    from plugvisor.settings import Settings

logger = logging.getLogger(__name__)


class Watcher:
    """Follows the plugins of a manager from `open` to `close`; without a plugin that asks for it, nothing is watched.

    Args:
        name_code: the code of an error, for the journal.
    """

    def __init__(
        self,
        manager: Manager,
        engine: Engine,
        recorder: Recorder,
        name_code: Callable[[PlugvisorError], str],
        settings: Settings,
    ) -> None:
        self._manager = manager
        self._engine = engine
        self._recorder = recorder
        self._name_code = name_code
        self._own_folders = (settings.run_dir, settings.log_dir, settings.state_dir)  # perhaps below a plugin's
        self._always = settings.dev_folder
        self._wanted: dict[str, Wanted] = {}
        self._watches: dict[str, PluginWatch] = {}
        self._launches: dict[str, tuple[int, int]] = {}
        self._arrangement = Arrangement(self._make_watches, self._on_changes, self._show_note)
        self._waiting: Changes = set()
        self._sorting: asyncio.Task[None] | None = None
        self._is_closed = False

    def open(self) -> None:
        """Begin; nothing is raised. An engine that runs plugins on other machines watches nothing."""
        if not self._engine.is_cluster:
            self._manager.on_change.append(self._follow_catalog)
            self._engine.on_change.append(self._follow_process)
            self._follow_catalog()

    async def close(self) -> None:
        """Watch no more; a reload that is under way goes on."""
        if self._engine.is_cluster:
            return
        self._is_closed = True
        self._manager.on_change.remove(self._follow_catalog)
        self._engine.on_change.remove(self._follow_process)
        for watch in self._watches.values():
            watch.close()
        if self._sorting is not None:
            self._sorting.cancel()
            await asyncio.gather(self._sorting, return_exceptions=True)
        await self._arrangement.close()

    # -- what is watched

    def _follow_catalog(self) -> None:
        catalog = self._manager.catalog
        if not self._wanted and not self._always and not any(_asks(plugin) for plugin in catalog.values()):
            return
        wanted = {name: found for name, plugin in catalog.items() if (found := self._find_wanted(plugin)) is not None}
        if wanted != self._wanted:
            self._wanted = wanted
            self._arrangement.begin()

    def _find_wanted(self, plugin: Plugin) -> Wanted | None:
        if plugin.folder is None or plugin.version_folder is not None:
            return None
        before = self._wanted.get(plugin.id)
        if plugin.folder == self._always:
            own = plugin.manifest.watch if plugin.manifest is not None else Watch()
            return Wanted(plugin.folder, Watch((".",), own.ignore, own.debounce))
        if plugin.manifest is None:  # a save that breaks the manifest is followed by one that mends it
            return before if before is not None and before.folder == plugin.folder else None
        return Wanted(plugin.folder, plugin.manifest.watch) if plugin.manifest.watch.paths else None

    async def _make_watches(self) -> Collection[PluginWatch]:
        """One for each plugin that is wanted."""
        wanted, before = dict(self._wanted), self._watches
        new = {name: one for name, one in wanted.items() if name not in before or before[name].wanted != one}
        new_rules = await asyncio.to_thread(lambda: {name: self._make_rules(one) for name, one in new.items()})
        for name in before.keys() - wanted.keys():
            before.pop(name).close()
            self._launches.pop(name, None)
            self._show_note(name)
        for name, one in new.items():
            if name in before:
                before[name].adopt(new_rules[name], one)
            else:
                before[name] = self._make_watch(name, new_rules[name], one)
        return before.values()

    def _make_rules(self, wanted: Wanted) -> Rules:
        own = [os.path.realpath(folder) for folder in self._own_folders]
        return Rules.make(os.path.realpath(wanted.folder), wanted.watch, own)

    def _make_watch(self, name: str, rules: Rules, wanted: Wanted) -> PluginWatch:
        return PluginWatch(
            name,
            rules,
            wanted,
            self._manager.reload,
            self._recorder,
            is_paused=lambda: self._is_paused(name),
            awaits_folders=lambda: self._awaits_folders(name),
            name_code=self._name_code,
            on_note=lambda: self._show_note(name),
        )

    def _show_note(self, plugin_id: str) -> None:
        watch = self._watches.get(plugin_id)
        self._manager.note_watch(plugin_id, *(watch.state if watch is not None else (None, "")))

    # -- changes

    def _on_changes(self, changes: Changes) -> None:
        if self._is_closed:
            return
        self._waiting |= changes
        if self._sorting is None:
            self._sorting = asyncio.create_task(self._sort_all())

    async def _sort_all(self) -> None:
        try:
            while self._waiting:
                changes, self._waiting = self._waiting, set()
                pids = {}
                with contextlib.suppress(SupervisorUnavailable):
                    pids = {name: process.pid for name, process in self._engine.read().items() if process.is_alive}
                found = await asyncio.to_thread(sort_changes, changes, self._arrangement.by_folder, pids)
                for watch, one in found.items():
                    if one.is_other_tree:
                        watch.tree += 1
                        self._arrangement.begin()
                    if one.paths and self._watches.get(watch.id) is watch:
                        watch.take(one.paths, by_person=one.by_person)
        except Exception:
            logger.exception("cannot follow changes of files")
        finally:
            self._sorting = None

    def _awaits_folders(self, plugin_id: str) -> bool:
        watch = self._watches.get(plugin_id)
        return self._arrangement.is_under_way and watch is not None and watch.tree != watch.watched_tree

    def _is_paused(self, plugin_id: str) -> bool:
        plugin = self._manager.catalog.get(plugin_id)
        if plugin is None or plugin.disabled_by:
            return True
        try:
            process = self._engine.read().get(plugin_id, NEVER_ADDED)
        except SupervisorUnavailable:
            return False  # which the reload finds out, and repeats
        if process.queued or process.start_pending:
            return False
        return process.state in (ProcessState.STOPPED, ProcessState.STOPPING)

    def _follow_process(self, plugin_id: str | None) -> None:
        """A start that is neither ours nor the engine's own is a person's."""
        if plugin_id is None or plugin_id not in self._watches:
            return
        try:
            process = self._engine.get(plugin_id)
        except SupervisorUnavailable:
            return
        launches, restarts = self._launches.get(plugin_id, (process.launches, process.restarts))
        self._launches[plugin_id] = process.launches, process.restarts
        if process.launches - launches > process.restarts - restarts and not self._watches[plugin_id].is_beginning:
            self._watches[plugin_id].resume("it was started")


def _asks(plugin: Plugin) -> bool:
    return plugin.manifest is not None and bool(plugin.manifest.watch.paths)
