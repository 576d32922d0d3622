"""The catalog: what was last read of every plugin, what was published of it, and who depends on whom."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from plugvisor.errors import InvalidManifest, PluginDisabled, PluginNotFound, PluginsUnreadable
from plugvisor.manager.catalog_reader import AWAITED, CatalogReader
from plugvisor.manager.status import describe_disabled, describe_problem
from plugvisor.plugins.catalog import NO_FOLDER, Catalog, Plugin
from plugvisor.plugins.dependencies import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path

    from plugvisor.engines.engine import Engine
    from plugvisor.models.lifecycle import Requirement
    from plugvisor.models.manifest import Manifest

_NOTHING: Mapping[str, Requirement] = {}
_NONE: Mapping[str, tuple[str, float]] = {}


class CatalogKeeper:
    """Reads plugins, publishes them, and announces what has changed.

    Args:
        disabled: the plugins that are disabled, and by whom; `follow_disabled` is called when that has changed.
    """

    def __init__(
        self,
        plugins_dir: Path,
        engine: Engine,
        disabled: Mapping[str, tuple[str, float]] = _NONE,
        install_dir: Path | None = None,
    ) -> None:
        self.catalog: Catalog = {}
        self.version = 0
        """Another number whenever the catalog may be another."""
        self.on_change: list[Callable[[], object]] = []
        """Called whenever the catalog may have changed."""
        self._engine = engine
        self._disabled = disabled
        self._reader = CatalogReader(plugins_dir, engine, install_dir)
        self._read: Catalog = {}
        """Each plugin by itself, of which the catalog is made."""
        self._published: dict[str, Manifest] = {}
        self._dependents: dict[str, set[str]] = {}
        self._all_dependents: set[str] = set()
        self._readings = 0
        self._read_at: dict[str, int] = {}  # which of the readings by a start or reload was a plugin's last

    def get(self, plugin_id: str) -> Plugin:
        """A plugin; raises `PluginNotFound`."""
        try:
            return self.catalog[plugin_id]
        except KeyError:
            raise PluginNotFound(plugin_id) from None

    def get_published(self, plugin_id: str) -> Manifest | None:
        """The manifest that was published last: the one that a plugin's process was launched with."""
        return self._published.get(plugin_id)

    def get_requirements(self, plugin_id: str, *, queued: bool) -> Mapping[str, Requirement]:
        """A plugin's dependencies: those it was launched with, or while it is queued, those last read."""
        plugin = self.catalog.get(plugin_id) if queued else None
        manifest = plugin.manifest if plugin is not None and plugin.enabled else self._published.get(plugin_id)
        return manifest.depends_on if manifest is not None else _NOTHING

    def get_dependents(self, plugin_id: str) -> Collection[str]:
        """The plugins that depend on another one, by their manifests or as they were launched."""
        return self._dependents.get(plugin_id, ())

    def list_dependents(self) -> Collection[str]:
        """Every plugin that depends on another one, by its manifest or as it was launched."""
        return self._all_dependents

    def is_related(self, plugin_id: str) -> bool:
        """Whether a plugin depends on another one, or another one on it."""
        return plugin_id in self._all_dependents or plugin_id in self._dependents

    # -- reading

    async def load(self) -> None:
        """Read every plugin; nothing is raised."""
        try:
            read = await self._reader.read_all(self._read)
        except PluginsUnreadable:
            # what runs can still be watched and stopped
            published = await asyncio.to_thread(self._engine.read_published)
            problem = "the plugins folder cannot be read"
            read = {name: Plugin(name, None, problem=problem) for name in published}
        self._store(dict(sorted(read.items())))
        # what runs was most probably launched with it; its checks are compared
        self._note_published(self.catalog.values())

    async def read_all(self, accepts: Callable[[str], bool]) -> tuple[Catalog, Catalog]:
        """Read every plugin that is accepted again; returns each by itself, before and after.

        Raises:
            PluginsUnreadable
        """
        before = dict(self._read)
        began = self._readings
        fresh = await self._reader.read_all(self._read)
        for plugin_id in before | fresh:
            is_newer = self._read_at.get(plugin_id, 0) > began  # a start or a reload has read it since
            if not accepts(plugin_id):
                if plugin_id in self._read:
                    fresh[plugin_id] = self._read[plugin_id]
                else:
                    fresh.pop(plugin_id, None)
            elif is_newer:
                # only a reading of all finds out that a plugin is gone
                found = fresh.setdefault(plugin_id, Plugin(plugin_id, None, problem=NO_FOLDER))
                fresh[plugin_id] = found if found.problem == NO_FOLDER else self._read[plugin_id]
        self._store(dict(sorted(fresh.items())))
        return before, self._read

    async def bring(self) -> None:
        """Have the engine bring here the folders that are awaited, and read those that have come.

        Raises:
            PluginsUnreadable, SupervisorUnavailable
        """
        if brought := await self._engine.bring_folders():
            await self.read_all(brought.__contains__)
            # what runs was launched with it
            self._note_published(self.catalog[name] for name in brought if name in self.catalog)

    async def read(self, plugin_ids: Iterable[str]) -> None:
        """Read some plugins again; those that are not in the catalog are ignored."""
        known = [self._read[plugin_id] for plugin_id in plugin_ids if plugin_id in self._read]
        if known:
            read = await asyncio.to_thread(lambda: [self._reader.read_again(plugin) for plugin in known])
            self._replace(known, read)

    async def read_startable(self, plugin_id: str) -> Plugin:
        """Read a plugin again; publish it too, if it depends on nothing.

        Raises:
            PluginNotFound, InvalidManifest, PluginDisabled, StartFailed
        """
        known = self.get(plugin_id)
        _check_not_switched_off(known)
        read = self._read[plugin_id]

        def read_and_publish() -> Plugin:
            plugin = self._reader.read_again(read)
            if plugin.enabled and plugin.manifest is not None and not plugin.manifest.depends_on:
                self._engine.publish(plugin.program)
            return plugin

        self._replace([read], [await asyncio.to_thread(read_and_publish)])
        plugin = self.catalog.get(plugin_id, known)  # a refresh may have found its folder gone meanwhile
        if plugin.program is None or plugin.manifest is None:
            raise _refuse(plugin)
        _check_not_switched_off(plugin)
        if not plugin.manifest.enabled:
            raise PluginDisabled("its manifest says `enabled = false` under [plugin_runtime]; change that first")
        if not plugin.manifest.depends_on:
            self._note_published([plugin])
        return plugin

    # -- publishing

    async def publish(self, plugins: Collection[Plugin]) -> None:
        """Have the engine write what the next start of each of some valid plugins uses; raises `StartFailed`."""

        def publish() -> None:
            for plugin in plugins:
                self._engine.publish(plugin.program)

        await asyncio.to_thread(publish)
        self._note_published(plugins)

    def note_launched(self, plugin_id: str) -> None:
        """A plugin's process was launched with its manifest as it was last read; nothing is written."""
        if plugin_id in self.catalog:
            self._note_published([self.catalog[plugin_id]])

    # -- changes by others

    def forget(self, plugin_id: str) -> None:
        """Take a plugin out: it was removed."""
        self._published.pop(plugin_id, None)
        self._store({name: plugin for name, plugin in self._read.items() if name != plugin_id}, [plugin_id])

    def follow_disabled(self, plugin_id: str | None) -> None:
        """A plugin may have been disabled or enabled; with None, any may have been."""
        if plugin_id is None:
            self._store(self._read)
        elif plugin_id in self.catalog and self.catalog[plugin_id].disabled_by != self._find_disabler(plugin_id):
            self._store(self._read, [plugin_id])

    def list_unpublished(self, plugin_id: str) -> None:
        """List a plugin that can only be stopped; a refresh removes it unless its folder is awaited."""
        problem = AWAITED if plugin_id in self._engine.list_awaited() else NO_FOLDER
        read = {**self._read, plugin_id: Plugin(plugin_id, None, problem=problem)}
        self._store(dict(sorted(read.items())))

    # -- parts

    def _replace(self, known: Iterable[Plugin], read: Iterable[Plugin]) -> None:
        """Store plugins that were read again."""
        changed = {}
        for before, plugin in zip(known, read, strict=True):
            self._readings += 1
            self._read_at[before.id] = self._readings
            if plugin != before and before.id in self._read:  # else it was removed meanwhile
                changed[before.id] = plugin
        if changed:
            self._store({**self._read, **changed}, changed)

    def _store(self, read: Catalog, changed: Collection[str] | None = None) -> None:
        """Make the catalog of what was read, and announce it.

        Args:
            changed: the plugins that are others or gone; None: any may be.
        """
        before, self._read = self._read, read
        flagged = {
            name: replace(read[name], disabled_by=by, disabled_at=at)
            for name, (by, at) in self._disabled.items()
            if name in read
        }
        if changed is None or any(
            name in self._dependents or _depends(before.get(name)) or _depends(read.get(name)) for name in changed
        ):
            self.catalog = resolve(read | flagged, self.catalog)
            self._index_dependents()
        else:  # a change of one plugin costs no look at thousands
            self.catalog = {**self.catalog, **{name: flagged.get(name, read[name]) for name in changed if name in read}}
            for name in changed:
                if name not in read:
                    del self.catalog[name]
        self.version += 1
        for callback in self.on_change:
            callback()

    def _find_disabler(self, plugin_id: str) -> str:
        return self._disabled.get(plugin_id, ("", 0.0))[0]

    def _note_published(self, plugins: Iterable[Plugin]) -> None:
        is_other = False
        for plugin in plugins:
            if plugin.program is not None and plugin.manifest is not None:
                before = self._published.get(plugin.id)
                self._published[plugin.id] = plugin.manifest
                is_other = is_other or (before.depends_on if before else _NOTHING) != plugin.manifest.depends_on
        if is_other:
            self._index_dependents()

    def _index_dependents(self) -> None:
        self._dependents = {}
        manifests = [plugin.manifest for plugin in self.catalog.values() if plugin.manifest is not None]
        for manifest in (*manifests, *self._published.values()):
            for dependency in manifest.depends_on:
                self._dependents.setdefault(dependency, set()).add(manifest.id)
        self._all_dependents = set().union(*self._dependents.values())


def _refuse(plugin: Plugin) -> InvalidManifest:
    refused = InvalidManifest(describe_problem(plugin))
    if (error := plugin.manifest_error) is not None:
        refused.line, refused.column = error.line, error.column
    return refused


def _check_not_switched_off(plugin: Plugin) -> None:
    if plugin.disabled_by:
        raise PluginDisabled(f"{describe_disabled(plugin)}; POST /plugin/{plugin.id}/enable lifts that")


def _depends(plugin: Plugin | None) -> bool:
    return plugin is not None and plugin.manifest is not None and bool(plugin.manifest.depends_on)
