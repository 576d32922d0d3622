"""What changes of files and folders mean for the plugins whose folders they are in."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

import pytest
from plugvisor.manager.watch.folder_watches import ADDED, MODIFIED
from plugvisor.manager.watch.rules import Rules
from plugvisor.manager.watch.sorting import sort_changes
from plugvisor.models.lifecycle import Watch

if TYPE_CHECKING:
    from pathlib import Path

    from plugvisor.manager.watch.plugin_watch import PluginWatch

DELETED = 3


class Watched:
    """As much of a `PluginWatch` as is asked here."""

    def __init__(self, root: Path) -> None:
        self.id = root.name
        self.rules = Rules.make(str(root), Watch((".",)))


@pytest.mark.parametrize(
    ("kind", "name", "is_change", "is_other_tree"),
    [
        (MODIFIED, "a/main.py", True, False),
        (ADDED, "a/src", True, True),
        (DELETED, "a/src", True, True),
        (MODIFIED, "a/src", False, True),
        (MODIFIED, "a", False, True),
        (ADDED, "a", True, True),
        (MODIFIED, ".", False, False),
        (DELETED, ".", False, False),
        (ADDED, "b", False, False),
        (MODIFIED, "main.py", False, False),
    ],
)
def test_a_change(tmp_path: Path, kind: int, name: str, is_change: bool, is_other_tree: bool) -> None:
    """The mode or the time of a folder is none, nor is anything beside the plugin."""
    (tmp_path / "a" / "src").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    watch = Watched(tmp_path / "a")
    by_folder = {str(folder): [watch] for folder in (tmp_path, tmp_path / "a", tmp_path / "a" / "src")}
    path = os.path.normpath(tmp_path / name)
    found = sort_changes(cast("Any", {(kind, path)}), cast("dict[str, list[PluginWatch]]", by_folder), {})
    one = found.get(cast("PluginWatch", watch))
    assert (one is not None and one.paths == {path}) == is_change
    assert (one is not None and one.is_other_tree) == is_other_tree
