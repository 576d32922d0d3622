"""Sets a broken database aside, and takes over what can be read of it."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from plugvisor.store.reader import open_reader
from plugvisor.store.schema import NewerSchema

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

SUFFIXES = ("", "-wal", "-shm", "-journal")
"""Of the files that are one database."""
MOST_KEPT = 5
"""How many broken databases are kept, so that a failing disk is not filled with them."""
_UNREADABLE = (sqlite3.Error, NewerSchema, OSError, UnicodeDecodeError)
_SMALL_TABLES = ("intent", "disabled", "asked", "identity", "admin_code", "troubled", "outbox")


def set_aside(path: Path) -> str:
    """Rename a database that is broken; returns its new name. Raises `OSError`."""
    name = f"{path.name}.broken-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    for suffix in SUFFIXES:
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(path.with_name(name + suffix))
    _remove_oldest(path)
    logger.error("the database of what is remembered is broken: it was set aside as %r, and a new one begun", name)
    return name


def _remove_oldest(path: Path) -> None:
    names = {each.name for each in path.parent.glob(f"{path.name}.broken-*")}
    broken = sorted(name for name in names if not name.endswith(SUFFIXES[1:]))
    for name in broken[:-MOST_KEPT]:
        for suffix in SUFFIXES:
            with suppress(OSError):
                old = path.with_name(name + suffix)
                shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)


def take_over(broken: Path, connection: sqlite3.Connection) -> None:
    """Copy the intents and identities that can still be read into a new database; raises `sqlite3.Error` of that."""
    rows: dict[str, list[tuple[object, ...]]] = {}
    with suppress(*_UNREADABLE), closing(open_reader(broken)) as old:
        for table in _SMALL_TABLES:
            with suppress(*_UNREADABLE):
                rows[table] = old.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - one of ours
    connection.execute("BEGIN IMMEDIATE")
    for table, found in rows.items():
        for row in found:
            with suppress(sqlite3.IntegrityError, sqlite3.OperationalError):  # a row that no longer fits
                places = ", ".join("?" * len(row))
                connection.execute(f"INSERT OR IGNORE INTO {table} VALUES ({places})", row)  # noqa: S608
    connection.execute("COMMIT")
