"""Finds out whether a plugin can have changed a file itself."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

from plugvisor.manager.watch.rules import read_size
from plugvisor.metrics.tree_size import list_tree

if TYPE_CHECKING:
    from collections.abc import Collection

_FLAGS = re.compile(r"^flags:\s*([0-7]+)$", re.MULTILINE)
_WRITTEN = re.compile(r"^wchar: ([0-9]+)$", re.MULTILINE)


class ProcessTree:
    """A plugin's processes at one instant; this blocks."""

    def __init__(self, root: int) -> None:
        self._pids = list_tree(root) if root else []

    def find_open(self, paths: Collection[str]) -> set[str]:
        """Those of some files that a process has open for writing, as far as this user may know."""
        found = set()
        for pid in self._pids:
            with contextlib.suppress(OSError):  # it has ended, or is another user's
                for descriptor in os.listdir(f"/proc/{pid}/fd"):
                    with contextlib.suppress(OSError):
                        path = os.readlink(f"/proc/{pid}/fd/{descriptor}")
                        if path in paths and _is_writable(f"/proc/{pid}/fdinfo/{descriptor}"):
                            found.add(path)
        return found

    def has_not_written(self, paths: Collection[str]) -> bool:
        """Whether the processes have certainly not written all of these: one is larger than all they have written.

        The kernel counts the bytes of each process and of those that it has waited for. False if they are not known.
        """
        sizes = [size for path in paths if (size := read_size(path)) > 0]
        if not sizes or not self._pids:
            return False
        written = 0
        for pid in self._pids:
            try:
                with open(f"/proc/{pid}/io", encoding="ascii") as file:
                    match = _WRITTEN.search(file.read())
            except OSError:
                return False
            if match is None:
                return False
            written += int(match[1])
        return max(sizes) > written


def _is_writable(path: str) -> bool:
    with open(path, encoding="ascii") as file:
        match = _FLAGS.search(file.read())
    return match is not None and bool(int(match[1], 8) & (os.O_WRONLY | os.O_RDWR))
