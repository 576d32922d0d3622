"""Warnings about a manifest's `watch` that has no effect because of where the plugin is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plugvisor.plugins.catalog import Plugin


def list_unwatched(plugin: Plugin) -> list[str]:
    """A sentence if the plugin is not watched though its manifest asks for it."""
    asks = plugin.manifest is not None and plugin.manifest.watch.paths
    if asks and plugin.version_folder is not None:
        return ["[plugin_runtime.watch] has no effect: the plugin was installed, and its version is read-only"]
    return []
