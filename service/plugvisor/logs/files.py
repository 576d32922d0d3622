"""The files of one log: the current one, and the rotated ones, of which `.1` is the newest."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST_FILES = 101
"""The current one, and as many as a manifest can have kept; files with higher numbers are ignored."""
_ATTEMPTS = 5


class LogFile:
    """One open file; it stays the same file when it is renamed or removed."""

    def __init__(self, descriptor: int, name: str) -> None:
        self.descriptor = descriptor
        self.name = name
        status = os.fstat(descriptor)
        self.inode = status.st_ino
        self.size = status.st_size
        """In bytes, when it was opened."""
        self.modified = status.st_mtime
        """In seconds since 1970, when it was opened."""

    @property
    def size_now(self) -> int:
        """In bytes; smaller than `size` if the file was truncated."""
        return os.fstat(self.descriptor).st_size

    @property
    def modified_now(self) -> float:
        """In seconds since 1970."""
        return os.fstat(self.descriptor).st_mtime

    def duplicate(self) -> LogFile:
        """Open the same file again; each is closed separately."""
        return LogFile(os.dup(self.descriptor), self.name)

    def read(self, position: int, count: int) -> bytes:
        """Read at most `count` bytes at a position; fewer at the end of the file."""
        return os.pread(self.descriptor, count, position)

    def close(self) -> None:
        """Close the file, which cannot be used afterwards."""
        os.close(self.descriptor)


@dataclass(frozen=True)
class LogFiles:
    """One log, which need not have a file yet."""

    folder: Path
    name: str
    """The current file's name."""

    def open_file(self, number: int = 0) -> LogFile | None:
        """Open the current file, or a rotated one; None if it is missing or not a regular file."""
        name = f"{self.name}.{number}" if number else self.name
        # a plugin of the same user can put a pipe there, which would block, or a link to any file
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
        """Return the inode of the current file; None if there is none."""
        try:
            return os.stat(self.folder / self.name, follow_symlinks=False).st_ino
        except OSError:
            return None

    @contextmanager
    def open_all(self) -> Iterator[list[LogFile]]:
        """Open every file, newest first, each exactly once even during a rotation."""
        with ExitStack() as stack:
            for _ in range(_ATTEMPTS):
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
                break  # more than the gap that a rotation makes
        return files


def _close_all(files: list[LogFile]) -> None:
    for file in files:
        with suppress(OSError):
            file.close()
