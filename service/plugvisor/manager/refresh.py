"""What a refresh has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugvisor.models.process import Process
    from plugvisor.plugins.catalog import Catalog


@dataclass(frozen=True)
class Refreshed:
    """Sorted ids."""

    added: list[str]
    changed: list[str]
    removed: list[str]
    invalid: list[str]


def list_differences(before: Catalog, after: Catalog, processes: Mapping[str, Process]) -> Refreshed:
    """Compare two readings of the plugins folder with what the engine knows."""
    added = [plugin.id for plugin in after.values() if plugin.program and plugin.id not in processes]
    gone = {plugin.id for plugin in after.values() if plugin.folder is None}
    return Refreshed(
        added=added,
        changed=[
            plugin.id
            for plugin in after.values()
            if plugin.program and plugin.id not in added and plugin != before.get(plugin.id)
        ],
        removed=sorted({*before, *gone} - (after.keys() - gone)),
        invalid=[plugin.id for plugin in after.values() if plugin.folder and not plugin.program],
    )
