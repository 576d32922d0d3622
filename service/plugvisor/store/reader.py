"""Connections that only read."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING

from plugvisor.store.schema import check_version

if TYPE_CHECKING:
    from pathlib import Path

BUSY_SECONDS = 2.0
"""How long a reader waits while the database is recovered, by itself or by another process."""


def open_reader(path: Path) -> sqlite3.Connection:
    """Open the database to read it; what a process that was killed has left in the log is recovered.

    Raises:
        sqlite3.Error
        NewerSchema
    """
    try:
        return _open(path, "mode=rw")
    except sqlite3.OperationalError:
        # on a read-only file system SQLite cannot make the files beside it, which it needs if it is to see changes
        if not _is_whole(path):
            raise
        return _open(path, "mode=ro&immutable=1")


def _is_whole(path: Path) -> bool:
    """Whether the database is all in one file."""
    if not path.is_file():
        return False
    with suppress(FileNotFoundError):
        return os.stat(f"{path}-wal").st_size == 0
    return True


def _open(path: Path, parameters: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.as_uri()}?{parameters}", uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        connection.execute("PRAGMA query_only = ON")
        check_version(connection)
    except BaseException:
        connection.close()
        raise
    return connection
