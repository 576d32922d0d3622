"""Reads plugins from disk, with what the engine knows of those whose folder or files are gone."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from plugvisor.errors import PluginsUnreadable
from plugvisor.models.manifest import ManifestError
from plugvisor.plugins.catalog import Catalog, Plugin, load_catalog, load_plugin, make_broken

if TYPE_CHECKING:
    from pathlib import Path

    from plugvisor.engines.engine import Engine
    from plugvisor.plugins.manifest import ManifestCache

logger = logging.getLogger(__name__)

AWAITED = "its folder has not been brought to this machine yet; the log of this service says why"
"""The problem of a plugin that another machine has started."""


class CatalogReader:
    """Reads the plugins folder and the install folder; a manifest that has not changed is not parsed again."""

    def __init__(self, plugins_dir: Path, engine: Engine, install_dir: Path | None = None) -> None:
        self._plugins_dir = plugins_dir
        self._install_dir = install_dir
        self._engine = engine
        self._manifests: ManifestCache = {}

    async def read_all(self, before: Catalog) -> Catalog:
        """Read every plugin.

        Args:
            before: the catalog as it was last read.

        Raises:
            PluginsUnreadable
        """
        known = self._list_known(before)
        awaited = self._engine.list_awaited()

        def load() -> Catalog:
            published = known | dict(self._engine.read_published())
            found = load_catalog(self._plugins_dir, published, self._engine.render, self._manifests, self._install_dir)
            for name in awaited:
                if name in found and found[name].folder is None:
                    found[name] = replace(found[name], problem=AWAITED)
            return found

        try:
            return await asyncio.to_thread(load)
        except OSError as error:
            is_plugins_dir = str(error.filename) == str(self._plugins_dir)
            which = "plugins folder" if is_plugins_dir else "install folder"
            logger.error("cannot read the %s: %s", which, error)
            raise PluginsUnreadable(
                f"cannot read the {which}: {error.strerror}; nothing was changed; put it back and refresh again"
            ) from error

    def read_again(self, known: Plugin) -> Plugin:
        """A plugin as its folder has it now; it keeps its id until a refresh. This blocks."""
        if known.folder is None:
            return known
        plugin = load_plugin(known.folder, self._engine.render, self._manifests)
        if plugin.id == known.id:
            return plugin
        # a second claim to an id that is taken stays what it was
        moved = ManifestError(f"its id is now {plugin.id!r}; refresh to take that over")
        error = plugin.manifest_error or known.manifest_error or moved
        return make_broken(known.id, known.folder, error, version_folder=plugin.version_folder)

    def _list_known(self, before: Catalog) -> dict[str, Path | None]:
        """The folders of the plugins that the engine has; what was published may have been deleted."""
        if not self._engine.is_live:
            return {}
        plugins = {plugin_id: before.get(plugin_id) for plugin_id in self._engine.read()}
        return {plugin_id: plugin.folder if plugin else None for plugin_id, plugin in plugins.items()}
