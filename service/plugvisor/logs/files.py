"""The files of one log: the current one and those that supervisord has rotated away, `.1` the newest of them."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST_FILES = 100
"""Files with higher numbers are not looked for."""
_TRIES = 5


class LogFile:
    """One open file. It stays the same file whatever is renamed or removed meanwhile."""

    def __init__(self, descriptor: int, name: str) -> None:
        self.descriptor = descriptor
        self.name = name
        told = os.fstat(descriptor)
        self.inode = told.st_ino
        self.size = told.st_size
        """In bytes, when it was opened."""
        self.modified = told.st_mtime
        """Seconds since 1970, when it was opened."""

    @property
    def size_now(self) -> int:
        """In bytes; smaller than before where the file was truncated."""
        return os.fstat(self.descriptor).st_size

    @property
    def modified_now(self) -> float:
        """Seconds since 1970."""
        return os.fstat(self.descriptor).st_mtime

    def duplicate(self) -> LogFile:
        """The same file, to be closed on its own."""
        return LogFile(os.dup(self.descriptor), self.name)

    def read(self, position: int, count: int) -> bytes:
        """So many bytes from there, fewer where the file ends."""
        return os.pread(self.descriptor, count, position)

    def close(self) -> None:
        """Close it; nothing else may be done with it after that."""
        os.close(self.descriptor)


@dataclass(frozen=True)
class LogFiles:
    """One log. There may be no file of it yet."""

    folder: Path
    name: str
    """The current file's."""

    def open_file(self, number: int = 0) -> LogFile | None:
        """Open the current file, or a rotated one; None where it is not there or is no ordinary file."""
        name = f"{self.name}.{number}" if number else self.name
        # a plugin of the same user may have put a pipe there, which would block, or a link to anything
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(self.folder / name, flags)
        except OSError:
            return None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            return None
        return LogFile(descriptor, name)

    def find_inode(self) -> int | None:
        """Which file is the current one."""
        try:
            return os.stat(self.folder / self.name, follow_symlinks=False).st_ino
        except OSError:
            return None

    @contextmanager
    def open_all(self) -> Iterator[list[LogFile]]:
        """Every file, the newest first, each of them once and in its order although a rotation may be under way."""
        with ExitStack() as stack:
            for _ in range(_TRIES):
                files = self._open_each()
                stack.callback(_close_all, files)
                newest = files[0].inode if files else None
                if newest == self.find_inode():
                    break
            yield files

    def _open_each(self) -> list[LogFile]:
        files: list[LogFile] = []
        missing = 0
        for number in range(MOST_FILES):
            file = self.open_file(number)
            if file is not None:
                files.append(file)
                missing = 0
            elif (missing := missing + 1) > 2:
                break  # a rotation under way makes a gap
        return files


def _close_all(files: list[LogFile]) -> None:
    for file in files:
        with suppress(OSError):
            file.close()
