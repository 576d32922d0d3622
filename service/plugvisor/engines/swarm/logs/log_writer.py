"""Writes a log as supervisord does, and with it, how far each task's log was read.

Every method blocks on the disk, and is called by one thread at a time.
"""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plugvisor.engines.swarm.logs.positions import TaskPosition, dump_positions, load_positions
from plugvisor.models.lifecycle import MOST_BACKUPS, LogOptions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class Stored:
    """The state that an earlier writer has left."""

    tasks: dict[str, TaskPosition]
    modified: float | None = None
    """If it is not known how far the tasks' logs were read: when the log was written last."""


class LogWriter:
    """One plugin's log, and beside it `.<id>.positions`.

    The positions are written before the text that leads to them, together with those before it and the size of the
    log: whenever this process is killed, the log shows which of them are true.
    """

    def __init__(self, log_dir: Path, plugin_id: str) -> None:
        self._folder = log_dir
        self._path = log_dir / f"{plugin_id}.log"
        self._positions_path = log_dir / f".{plugin_id}.positions"
        self._before: Mapping[str, Any] = {}
        self.options = LogOptions()
        """When it is rotated, and what is kept."""

    def load(self) -> Stored:
        """Read how far the tasks' logs were read; what was written of a text that is not complete is removed."""
        try:
            status = os.stat(self._path, follow_symlinks=False)
        except OSError:
            status = None
        try:
            found = json.loads(self._positions_path.read_bytes())
            before, after = load_positions(found["before"]), load_positions(found["after"])
            inode, size_before, size_after = (int(found[name]) for name in ("inode", "size_before", "size_after"))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            modified = status.st_mtime if status is not None and status.st_size else None
            return Stored({}, modified)
        tasks = after
        if status is not None and status.st_ino == inode and size_before <= status.st_size < size_after:
            tasks = before
            if status.st_size > size_before:
                self._truncate(size_before)
        self._before = dump_positions(tasks)
        return Stored(tasks)

    def append(self, text: bytes, tasks: Mapping[str, TaskPosition]) -> None:
        """Append text, after which the tasks' logs are read as far as that; raises `OSError`, and nothing is changed.

        A log that somebody has renamed or removed is begun anew.
        """
        descriptor = self._open()
        try:
            size = os.fstat(descriptor).st_size
            if size >= self.options.max_size and text:
                self._rotate()
                os.close(descriptor)
                descriptor = -1
                descriptor = self._open()
                size = os.fstat(descriptor).st_size
            after = dump_positions(tasks)
            self._write_positions(os.fstat(descriptor).st_ino, size, size + len(text), after)
            self._write_text(descriptor, text, size)
            self._before = after
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def ends_with_line_break(self) -> bool:
        """Whether the last line is complete."""
        with suppress(OSError):
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                size = os.fstat(descriptor).st_size
                return size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"
            finally:
                os.close(descriptor)
        return True

    def _open(self) -> int:
        try:
            descriptor = os.open(self._path, _FLAGS, 0o640)
        except FileNotFoundError:  # somebody has removed the folder
            self._folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            descriptor = os.open(self._path, _FLAGS, 0o640)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError("the log is no regular file")
        return descriptor

    def _rotate(self) -> None:
        backups = self.options.backups
        names = [self._path, *(self._path.with_name(f"{self._path.name}.{i}") for i in range(1, MOST_BACKUPS + 1))]
        with suppress(OSError):  # those of a time when more were kept, too; the first that is not there ends it
            for name in names[backups + 1 :]:
                name.unlink()
        if not backups:
            self._path.unlink(missing_ok=True)
        for older, newer in reversed(list(zip(names[1 : backups + 1], names, strict=False))):
            with suppress(FileNotFoundError):
                newer.replace(older)

    def _write_positions(self, inode: int, size_before: int, size_after: int, after: Mapping[str, Any]) -> None:
        found = {
            "inode": inode,
            "size_before": size_before,
            "size_after": size_after,
            "before": self._before,
            "after": after,
        }
        temporary = self._positions_path.with_name(f"{self._positions_path.name}.new")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(json.dumps(found, separators=(",", ":")).encode())
        temporary.replace(self._positions_path)

    def _write_text(self, descriptor: int, text: bytes, size: int) -> None:
        view = memoryview(text)
        try:
            while view:
                view = view[os.write(descriptor, view) :]
        except OSError:
            with suppress(OSError):  # else `load` does it
                os.ftruncate(descriptor, size)
            raise

    def _truncate(self, size: int) -> None:
        with suppress(OSError):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.ftruncate(descriptor, size)
            finally:
                os.close(descriptor)
