"""The writer's connection to the database: opened, watched, and replaced when it is broken."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING

from plugvisor.store.broken import set_aside, take_over
from plugvisor.store.failures import is_broken
from plugvisor.store.folder import (
    LOCK_NAME,
    BrokenDatabase,
    check_folder,
    check_writable,
    has_database,
    lock_folder,
    make_folder,
)
from plugvisor.store.schema import open_database

if TYPE_CHECKING:
    from pathlib import Path

_File = tuple[int, int]
"""Device and inode."""
_Version = tuple[int, int]
"""Size and time of the last change: of the file itself, to which only a checkpoint of this connection writes."""


class Database:
    """The connection and the lock of the folder; all of it belongs to one thread.

    Args:
        path: of the database's file.
    """

    def __init__(self, path: Path) -> None:
        self.set_aside = ""
        """The name of the broken file that was set aside last."""
        self.size_bytes = 0
        """Of the database and its write-ahead log."""
        self._path = path
        self._companions = (path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm"))
        self._lock_path = path.with_name(LOCK_NAME)
        self._connection: sqlite3.Connection | None = None
        self._lock: int | None = None
        self._files: tuple[_File | None, ...] = ()
        self._written: _Version | None = None
        self._last: _File | None = None
        self._untaken = ""  # the name of a broken file of which nothing was taken over yet

    @property
    def connection(self) -> sqlite3.Connection:
        """The open connection."""
        assert self._connection is not None
        return self._connection

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    def open(self, *, is_suspect: bool, is_condemned: bool = False) -> bool:
        """Lock the folder, and open the database or begin one.

        Args:
            is_suspect: it may be damaged: check all of it.
            is_condemned: it is damaged: set it aside.

        Returns:
            whether it is another database than the one that was open before.

        Raises:
            OSError
            sqlite3.Error
            NewerSchema
            UnsafeFolder
            FolderInUse
        """
        is_overwritten = self._connection is not None and self._is_overwritten()
        is_suspect = is_suspect or is_overwritten
        self.close()
        make_folder(self._path.parent)
        mode = check_folder(self._path.parent)
        self._take_lock(mode)
        check_writable(self._path.parent)
        try:
            if is_condemned:
                raise BrokenDatabase  # noqa: TRY301 - as it is found below
            is_new = not has_database(self._path)
            connection = self._connect(mode, is_new=is_new, is_suspect=is_suspect)
        except (BrokenDatabase, sqlite3.DatabaseError) as error:
            if not isinstance(error, BrokenDatabase) and not is_broken(error):
                raise
            self._untaken = self.set_aside = set_aside(self._path)
            is_new = True
            connection = self._connect(mode, is_new=True, is_suspect=False)
        self._connection = connection
        self._files = self._find_files()
        self.note_commit()
        if self._untaken:
            take_over(self._path.with_name(self._untaken), connection)
            self._untaken = ""
            self.note_commit()
        opened, self._last = self._last, self._files[0]
        return opened is not None and (is_new or is_overwritten or opened != self._last)

    def is_current(self) -> bool:
        """Whether what is open is what has the database's name, and so is what will be found after a restart."""
        return self._connection is not None and self._find_files() == self._files and not self._is_overwritten()

    def receives_commits(self) -> bool:
        """As `is_current`, of the files alone that a commit writes to.

        Each system call of this thread may wait for the event loop's: there are two.
        """
        file, log = _find(self._path), _find(self._companions[0])
        if file is None or log is None or (_identify(file), _identify(log)) != self._files[:2]:
            return False
        self.size_bytes = file.st_size + log.st_size
        return _find_version(file) == self._written

    def note_commit(self) -> None:
        """Record how the file is now; called after each transaction, which may have written to it."""
        self._written = _find_version(_find(self._path))

    def _is_overwritten(self) -> bool:
        """Whether somebody else has written to the file, as `cp` does: it may be another database, or part of one."""
        return _find_version(_find(self._path)) != self._written

    def close(self) -> None:
        """Close the connection; the lock is kept."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        files = self._find_files()
        with suppress(sqlite3.Error):
            connection.execute("PRAGMA busy_timeout = 0")
            # SQLite does so itself, unless somebody reads, or the file has another name now: the log may be lost
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with suppress(sqlite3.Error):
            connection.close()
        if files[0] != self._files[0]:
            # SQLite would take the log of the database that was here before for that of the one that is here now
            for path, now, before in zip(self._companions, files[1:3], self._files[1:3], strict=True):
                if now is not None and now == before:
                    with suppress(OSError):
                        path.unlink(missing_ok=True)

    def release(self) -> None:
        """Close the connection and release the folder."""
        self.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_lock(self, mode: int) -> None:
        if self._lock is not None:
            there = _find(self._lock_path)
            if there is not None and os.path.samestat(there, os.fstat(self._lock)):
                return
            os.close(self._lock)  # of a folder that is elsewhere now, or of a file that is gone
            self._lock = None
        self._lock = lock_folder(self._path.parent, mode)

    def _connect(self, mode: int, *, is_new: bool, is_suspect: bool) -> sqlite3.Connection:
        if is_new:
            # the files beside it get its permissions from SQLite, whatever the umask is
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
            try:
                os.fchmod(descriptor, mode)
            finally:
                os.close(descriptor)
        return open_database(self._path, is_suspect=is_suspect)

    def _find_files(self) -> tuple[_File | None, ...]:
        found = [_find(path) for path in (self._path, *self._companions, self._lock_path)]
        self.size_bytes = sum(status.st_size for status in found[:2] if status is not None)
        return tuple(None if status is None else _identify(status) for status in found)


def _identify(status: os.stat_result) -> _File:
    return status.st_dev, status.st_ino


def _find_version(status: os.stat_result | None) -> _Version | None:
    return None if status is None else (status.st_size, status.st_mtime_ns)


def _find(path: Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None
