"""Which files of a plugin's folder are watched, and which folders that takes."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plugvisor.models.manifest import FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pathspec import GitIgnoreSpec

    from plugvisor.models.lifecycle import Watch

NEVER_WATCHED = (
    *(".git", ".hg", ".svn", "__pycache__/", "*.pyc", "*.pyo", ".mypy_cache/", ".pytest_cache/", ".ruff_cache/"),
    *(".hypothesis/", ".tox/", ".nox/", "node_modules/", ".venv", "venv/"),
    *("/data/", "*.log", "*.log.[0-9]*"),
    *("*.sw[a-z]", "*~", ".#*", r"\#*#", "4913", ".DS_Store"),  # editors'
)
"""Patterns before those of `ignore`, which can revoke them with `!`."""
MOST_FOLDERS = 10_000
"""Of one plugin; a larger tree is not watched, for each folder costs the system one watch."""
MOST_FILES = 200_000
"""So many names are remembered while watching is suspended."""


@dataclass(frozen=True)
class Rules:
    """The rules of one folder: which of its files are watched."""

    root: str
    """The real path of the plugin's folder."""
    paths: tuple[str, ...]
    """Relative to it; `.` is the whole."""
    ignored: GitIgnoreSpec
    excluded: tuple[str, ...] = ()
    """Real paths of folders of Plugvisor's own, which may be below the root."""

    @classmethod
    def make(cls, root: str, watch: Watch, excluded: Sequence[str] = ()) -> Rules:
        """The rules of a manifest's `watch`; this blocks."""
        from pathspec import GitIgnoreSpec  # noqa: PLC0415 - thirty modules, which few need

        paths = tuple(os.path.normpath(path) for path in watch.paths)
        ignored = GitIgnoreSpec.from_lines([*NEVER_WATCHED, *filter(_is_pattern, watch.ignore)])
        return cls(root, paths, ignored, tuple(excluded))

    def covers(self, path: str, *, is_folder: bool = False) -> bool:
        """Whether a file, or what is in a folder, is watched; `path` is absolute."""
        relative = os.path.relpath(path, self.root)
        if relative in (FILE_NAME, "..") or relative.startswith("../"):
            return relative == FILE_NAME
        is_asked_for = any(
            asked in (".", relative) or relative.startswith(f"{asked}/") or (is_folder and relative == ".")
            for asked in self.paths
        )
        return is_asked_for and not self._is_ignored(path, relative, is_folder=is_folder)

    def _is_ignored(self, path: str, relative: str, *, is_folder: bool) -> bool:
        if path in self.excluded or any(path.startswith(f"{folder}/") for folder in self.excluded):
            return True
        return relative != "." and self.ignored.match_file(f"{relative}/" if is_folder else relative)

    def list_outside(self) -> list[str]:
        """Those of the paths that a link leads out of the folder, which are not watched."""
        return [path for path in self.paths if self._find_inside(path) is None]

    def _find_inside(self, path: str) -> str | None:
        found = os.path.join(self.root, path)
        real = os.path.realpath(found)
        return os.path.normpath(found) if real == self.root or real.startswith(f"{self.root}/") else None

    def list_folders(self) -> list[str]:
        """Every folder that has to be watched; at most one more than `MOST_FOLDERS`."""
        folders = {self.root: None} if os.path.isdir(self.root) else {}
        for path in self.paths:
            inside = self._find_inside(path)
            while inside is not None and not os.path.isdir(inside) and inside != self.root:
                inside = os.path.dirname(inside)  # a file, or nothing yet: what is above it says when it is there
                path = ""  # noqa: PLW2901 - and nothing beside it
            if inside is None or not os.path.isdir(inside):
                continue
            for folder, _ in self._walk(inside) if path else [(inside, ())]:
                folders[folder] = None
                if len(folders) > MOST_FOLDERS:
                    return list(folders)
        return list(folders)

    def list_files(self) -> set[str]:
        """The absolute paths of the files that are watched; at most `MOST_FILES`."""
        files: set[str] = set()
        for folder in self.list_folders():
            for _, names in self._walk(folder, is_deep=False):
                files.update(path for name in names if self.covers(path := f"{folder}/{name}"))
            if len(files) > MOST_FILES:
                break
        return files

    def _walk(self, top: str, *, is_deep: bool = True) -> Iterator[tuple[str, list[str]]]:
        """Folders and the names of their files; links are not followed, and ignored folders not entered."""
        pending = [top]
        while pending:
            folder = pending.pop()
            names = []
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if not entry.is_dir(follow_symlinks=False):
                            names.append(entry.name)
                        elif is_deep and not self._is_ignored(
                            entry.path, os.path.relpath(entry.path, self.root), is_folder=True
                        ):
                            pending.append(entry.path)
            except OSError:
                continue  # it has just gone, or is not readable
            yield folder, names


def _is_pattern(line: str) -> bool:
    """Whether a line of .gitignore means anything; git ignores others too."""
    from pathspec import GitIgnoreSpec  # noqa: PLC0415 - as above

    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True


def read_size(path: str) -> int:
    """How many bytes of a regular file were written at some time; -1 if there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return -1
    # a file can be made larger without a byte being written: what is a hole in it does not count
    return min(found.st_size, found.st_blocks * 512) if stat.S_ISREG(found.st_mode) else -1
