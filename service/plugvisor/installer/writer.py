"""Writes files below one folder, without following links on the way."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from plugvisor.installer.archives.entries import Piece

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

Path = tuple[str, ...]


class Writer:
    """Makes files, folders and links relative to the descriptors of their folders.

    Every method raises `OSError`, also if another process has put a link or anything else in the way.
    """

    def __init__(self, folder: str) -> None:
        self._path: Path = ()
        self._folders = [os.open(folder, _FOLDER)]
        """The descriptors of the folder itself and of each part of the path."""

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        while self._folders:
            os.close(self._folders.pop())

    def make_folder(self, path: Path) -> None:
        """Make a folder and its parents, unless they exist."""
        self._enter(path)

    def write_file(self, path: Path, pieces: Iterable[Piece], *, is_executable: bool) -> None:
        """Make a file and its parents."""
        descriptor = os.open(path[-1], _NEW_FILE, 0o600, dir_fd=self._enter(path[:-1]))
        try:
            for piece in pieces:
                written = os.write(descriptor, piece)
                while written < len(piece):
                    written += os.write(descriptor, piece[written:])
            os.fchmod(descriptor, 0o755 if is_executable else 0o644)  # whatever the umask
        finally:
            os.close(descriptor)

    def make_link(self, path: Path, target: str) -> None:
        """Make a symbolic link and its parents."""
        os.symlink(target, path[-1], dir_fd=self._enter(path[:-1]))

    def strip(self, top: str) -> None:
        """Replace `top`, the only folder, by what is in it."""
        self._leave(0)
        root = self._folders[0]
        aside = f".{os.urandom(8).hex()}"  # it may contain its own name
        os.rename(top, aside, src_dir_fd=root, dst_dir_fd=root)
        self._enter((aside,))
        for name in os.listdir(self._folders[-1]):
            os.rename(name, name, src_dir_fd=self._folders[-1], dst_dir_fd=root)
        self._leave(0)
        os.rmdir(aside, dir_fd=root)

    def _enter(self, path: Path) -> int:
        """Return the descriptor of a folder, which is made if necessary, and stays open for the next entry."""
        if path == self._path:
            return self._folders[-1]
        depth = 0
        while depth < min(len(path), len(self._path)) and path[depth] == self._path[depth]:
            depth += 1
        self._leave(depth)
        for part in path[depth:]:
            parent = self._folders[-1]
            try:
                os.mkdir(part, 0o700, dir_fd=parent)
                is_new = True
            except FileExistsError:
                is_new = False
            self._folders.append(os.open(part, _FOLDER, dir_fd=parent))
            self._path = (*self._path, part)
            if is_new:
                os.fchmod(self._folders[-1], 0o755)
        return self._folders[-1]

    def _leave(self, depth: int) -> None:
        """Close the folders that are deeper."""
        while len(self._path) > depth:
            os.close(self._folders.pop())
            self._path = self._path[:-1]
