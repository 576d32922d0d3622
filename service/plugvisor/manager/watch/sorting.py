"""Finds out what changes of files mean for which plugin."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plugvisor.manager.watch.folder_watches import ADDED, MODIFIED, is_utf8
from plugvisor.manager.watch.writers import ProcessTree

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from plugvisor.manager.watch.folder_watches import Changes
    from plugvisor.manager.watch.plugin_watch import PluginWatch


MANY = 5_000
"""With so many changes at once, the system may have dropped some, of new folders among them."""


@dataclass
class Found:
    """The changes that concern one plugin."""

    paths: set[str]
    is_other_tree: bool = False
    """Folders have come or gone, or may be readable now."""
    by_person: bool = False
    """The plugin has certainly not made them."""


def sort_changes(
    changes: Changes, by_folder: Mapping[str, Sequence[PluginWatch]], pids: Mapping[str, int]
) -> dict[PluginWatch, Found]:
    """Sort changes by the plugins that they concern; this blocks.

    Args:
        by_folder: who watches a folder.
        pids: of the processes of the plugins that have one.
    """
    found: dict[PluginWatch, Found] = {}
    for kind, path in changes:
        is_folder = path in by_folder or (kind == ADDED and os.path.isdir(path) and not os.path.islink(path))
        for watch in {*by_folder.get(os.path.dirname(path), ()), *by_folder.get(path, ())}:
            if path == watch.rules.root or watch.rules.covers(path, is_folder=is_folder):
                one = found.setdefault(watch, Found(set()))
                one.is_other_tree |= is_folder
                if not (is_folder and kind == MODIFIED):  # its mode or its time, and nothing of what is in it
                    one.paths.add(path)
    for watch, one in found.items():
        one.is_other_tree |= len(changes) > MANY
        tree = ProcessTree(pids.get(watch.id, 0))
        one.paths -= tree.find_open(one.paths)
        one.by_person = tree.has_not_written(one.paths)
    return found


def list_readable(folders: Iterable[str]) -> list[str]:
    """Those of some folders that are there and can be watched; this blocks."""
    return sorted(
        folder for folder in folders if is_utf8(folder) and os.path.isdir(folder) and os.access(folder, os.R_OK)
    )
