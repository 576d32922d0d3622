"""Copies of a plugin's folder as it was when the plugin was ready, and the way back to one."""

from __future__ import annotations

import filecmp
import os
import shutil
import stat
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plugvisor.manager.watch.rules import Rules
from plugvisor.models.lifecycle import Watch

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

LARGEST_BYTES = 50_000_000
MOST_FILES = 5_000
MOST_COPIES = 3
"""The newest are kept."""


class TooLarge(Exception):
    """The folder is too large to be copied."""


@dataclass(frozen=True)
class Copy:
    """The files of the folder at one time."""

    folder: Path
    at: float
    """In seconds since 1970."""
    names: Collection[str]
    """Of its files, relative to the folder."""


class ReadyCopies:
    """The newest copies. What is never watched is not copied; links are copied as links.

    Args:
        folder: of the plugin; a real path.
        store: where the copies are kept.
    """

    def __init__(self, folder: Path, store: Path) -> None:
        self._folder = folder
        self._store = store
        self._rules = Rules.make(str(folder), Watch((".",)))
        self._copies: list[Copy] = []
        self._count = 0

    def take(self, started_at: float) -> bool:
        """Copy the folder, unless it is as the newest copy, or was changed after a time; returns whether it was copied.

        Raises:
            TooLarge
            OSError
        """
        names = self._list_names()
        found = {name: os.lstat(self._folder / name) for name in names}
        if len(names) > MOST_FILES or sum(status.st_size for status in found.values()) > LARGEST_BYTES:
            raise TooLarge(f"it has more than {LARGEST_BYTES // 1_000_000} MB or {MOST_FILES} files")
        if any(max(status.st_mtime, status.st_ctime) > started_at for status in found.values()):
            return False  # the plugin may not have seen that
        if self._copies and not self._list_changes(self._copies[-1], names):
            return False
        self._count += 1
        copy = Copy(self._store / str(self._count), time.time(), names)
        for name in names:
            _copy_file(self._folder / name, copy.folder / name)
        self._copies.append(copy)
        for old in self._copies[:-MOST_COPIES]:
            shutil.rmtree(old.folder, ignore_errors=True)
        self._copies = self._copies[-MOST_COPIES:]
        return True

    def find(self) -> tuple[Copy, list[str]] | None:
        """The newest copy from which the folder differs, and the names of the files that do."""
        names = self._list_names()
        for copy in reversed(self._copies):
            if changes := self._list_changes(copy, names):
                return copy, changes
        return None

    def restore(self, copy: Copy, changes: Collection[str]) -> Path:
        """Put files back as they were in a copy; returns the folder beside the plugin's that has what was replaced.

        Raises:
            OSError
        """
        # its name begins with a dot: it is nobody's plugin
        moment = time.strftime("%Y%m%d-%H%M%S", time.localtime(time.time()))
        replaced = self._folder.with_name(f".{self._folder.name}.replaced-{moment}")
        replaced.mkdir()
        for name in changes:
            path = self._folder / name
            if not self._is_inside(path.parent):
                continue  # a folder on the way has become a link to elsewhere
            if os.path.lexists(path):
                kept = replaced / name
                kept.parent.mkdir(parents=True, exist_ok=True)
                _copy_file(path, kept)
            if name in copy.names:
                draft = path.with_name(f".#{path.name}.plugvisor")  # which is never watched
                _copy_file(copy.folder / name, draft)
                os.replace(draft, path)
            else:
                path.unlink()
        return replaced

    def _is_inside(self, folder: Path) -> bool:
        real = os.path.realpath(folder)
        return real == str(self._folder) or real.startswith(f"{self._folder}/")

    def _list_names(self) -> frozenset[str]:
        paths = self._rules.list_files()
        return frozenset(os.path.relpath(path, self._folder) for path in paths if _is_copied(path))

    def _list_changes(self, copy: Copy, names: Collection[str]) -> list[str]:
        return sorted(
            name
            for name in {*names, *copy.names}
            if name not in names or name not in copy.names or not _is_same(self._folder / name, copy.folder / name)
        )


def _is_copied(path: str) -> bool:
    mode = os.lstat(path).st_mode if os.path.lexists(path) else 0
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)


def _copy_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target, follow_symlinks=False)


def _is_same(one: Path, other: Path) -> bool:
    if one.is_symlink() or other.is_symlink():
        return one.is_symlink() and other.is_symlink() and os.readlink(one) == os.readlink(other)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (one, other)]
    return modes[0] == modes[1] and filecmp.cmp(one, other, shallow=False)
