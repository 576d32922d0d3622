"""What a refresh has found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from plugvisor.models.process import Process
    from plugvisor.plugins.catalog import Catalog


@dataclass(frozen=True)
class Refreshed:
    """Sorted ids."""

    added: list[str]
    changed: list[str]
    removed: list[str]
    invalid: list[str]

    def reject(self, ids: list[str]) -> Refreshed:
        """The same, with ids that could not be added among the invalid ones."""
        added = [plugin_id for plugin_id in self.added if plugin_id not in ids]
        return replace(self, added=added, invalid=sorted({*self.invalid, *ids}))


def list_differences(
    before: Collection[str], after: Catalog, reread: Collection[str], processes: Mapping[str, Process]
) -> Refreshed:
    """Compare two readings of the plugins folder with what the engine knows.

    Args:
        before: the ids that there were.
        reread: the ids whose reading is another than before.
    """
    # one that `supervisorctl update` has added is new here all the same
    added = [
        plugin.id
        for plugin in after.values()
        if plugin.program and not (plugin.id in processes and plugin.id in before)
    ]
    gone = {plugin.id for plugin in after.values() if plugin.folder is None}
    return Refreshed(
        added=added,
        changed=[
            plugin.id for plugin in after.values() if plugin.program and plugin.id not in added and plugin.id in reread
        ],
        removed=sorted({*before, *gone} - (after.keys() - gone)),
        invalid=[plugin.id for plugin in after.values() if plugin.folder and not plugin.program],
    )
