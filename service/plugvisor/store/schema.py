"""The store's tables, and the steps that lead to them from every earlier version."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

BUSY_SECONDS = 0.5
"""How long to wait for another process that has locked the database."""
MOST_LOG_BYTES = 4 << 20
"""How much space the write-ahead log keeps once it is empty."""

MIGRATIONS = (
    """
    CREATE TABLE intent (
        plugin_id TEXT PRIMARY KEY,
        wanted TEXT NOT NULL,
        by TEXT NOT NULL,
        at REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE disabled (
        plugin_id TEXT PRIMARY KEY,
        by TEXT NOT NULL,
        at REAL NOT NULL
    ) WITHOUT ROWID;
    -- the last request of supervisorctl that was taken over, by plugin: what the state stream repeats is not new
    CREATE TABLE asked (
        plugin_id TEXT PRIMARY KEY,
        token TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE identity (
        name TEXT PRIMARY KEY,
        role TEXT NOT NULL,
        plugins TEXT NOT NULL,            -- JSON: patterns
        token_sha256 BLOB NOT NULL UNIQUE,
        created_at REAL NOT NULL,
        created_by TEXT NOT NULL,
        expires_at REAL
    ) WITHOUT ROWID;
    -- an admin code that was rotated by a request, which applies until the configured one is another
    CREATE TABLE admin_code (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        code_sha256 BLOB NOT NULL,
        salt BLOB NOT NULL,
        replaced BLOB NOT NULL            -- scrypt of the configured code that it replaces
    );
    CREATE TABLE journal (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        sequence INTEGER NOT NULL,        -- another whenever the entry is added or changed
        at REAL NOT NULL,
        until REAL NOT NULL,
        times INTEGER NOT NULL DEFAULT 1,
        kind TEXT NOT NULL,
        plugin_id TEXT NOT NULL,
        facts BLOB NOT NULL               -- JSON
    );
    CREATE UNIQUE INDEX journal_by_sequence ON journal (sequence);
    CREATE INDEX journal_by_kind ON journal (kind, at);
    CREATE INDEX journal_by_plugin ON journal (plugin_id, kind, at);
    -- the largest sequence of an entry that is no longer kept
    CREATE TABLE journal_pruned (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        sequence INTEGER NOT NULL
    );
    CREATE TABLE outbox (
        id TEXT NOT NULL,                 -- the header webhook-id
        url TEXT NOT NULL,                -- its SHA-256: it may hold a password
        kind TEXT NOT NULL,
        plugin_id TEXT NOT NULL,
        body BLOB NOT NULL,
        created_at REAL NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        next_at REAL NOT NULL,
        PRIMARY KEY (id, url)
    ) WITHOUT ROWID;
    -- the plugins that webhooks said are in trouble, and that have not been well since
    CREATE TABLE troubled (
        plugin_id TEXT PRIMARY KEY
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE operation (
        id TEXT PRIMARY KEY,
        begun_at REAL NOT NULL,
        state TEXT NOT NULL,
        body BLOB NOT NULL                -- JSON
    ) WITHOUT ROWID;
    """,
    """
    -- what the engine keeps for the service on another machine, as it was when this one last agreed with it
    CREATE TABLE kept_state (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        rows BLOB NOT NULL                -- JSON
    );
    """,
)
"""Number N leads from version N to N + 1."""


class DamagedDatabase(sqlite3.DatabaseError):
    """The file is a database, but not a whole one of ours."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


class NewerSchema(Exception):
    """The database was written by a later version of Plugvisor."""

    def __str__(self) -> str:
        return "the database was written by a later version of Plugvisor"


def open_database(path: Path, *, is_suspect: bool = False) -> sqlite3.Connection:
    """Open the database for its one writer, make it or bring it up to date, and write to it.

    A connection commits nothing by itself: whoever has it begins and ends its transactions.

    Args:
        is_suspect: it may be damaged: check all of it.

    Raises:
        sqlite3.Error: `failures.is_broken` returns whether it is damaged.
        NewerSchema
    """
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _set_up(connection, is_suspect=is_suspect)
    except UnicodeDecodeError as error:
        connection.close()
        # of a message of SQLite's in which there is something of the file
        raise DamagedDatabase("its tables make no sense") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _set_up(connection: sqlite3.Connection, *, is_suspect: bool) -> None:
    if check_version(connection) == 0 and connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
        raise DamagedDatabase("it belongs to another program")
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # for a new file: space is given back
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # a commit survives the loss of power
    connection.execute("PRAGMA fullfsync = ON")  # on macOS, too
    connection.execute(f"PRAGMA journal_size_limit = {MOST_LOG_BYTES}")
    migrate(connection)
    _check(connection, is_suspect=is_suspect)
    # nothing else would say that the disk is full, or read-only
    connection.executescript(f"BEGIN IMMEDIATE; PRAGMA user_version = {len(MIGRATIONS)}; COMMIT;")


@cache
def list_columns() -> Mapping[str, Sequence[str]]:
    """The tables that the migrations lead to, and their columns."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript("".join(MIGRATIONS))
        return _read_columns(connection)


def _read_columns(connection: sqlite3.Connection) -> Mapping[str, Sequence[str]]:
    columns: dict[str, list[str]] = {}
    for table, column in connection.execute(
        "SELECT tables.name, columns.name FROM sqlite_schema AS tables JOIN pragma_table_info(tables.name) AS columns "
        "WHERE tables.type = 'table' ORDER BY tables.name, columns.cid"
    ):
        columns.setdefault(table, []).append(column)
    return columns


def _check(connection: sqlite3.Connection, *, is_suspect: bool) -> None:
    """Check that the tables are ours, and with `is_suspect` all that is in them; raises `DamagedDatabase`."""
    found = _read_columns(connection)
    for table, columns in list_columns().items():
        if found.get(table) != columns:
            raise DamagedDatabase(f"it has no table {table!r} as it should be")
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE type = 'trigger'").fetchone():
        raise DamagedDatabase("it has a trigger")
    if is_suspect:
        for (finding,) in connection.execute("PRAGMA integrity_check(1)"):
            if finding != "ok":
                raise DamagedDatabase(finding)


def check_version(connection: sqlite3.Connection) -> int:
    """The version of the tables, 0 if there are none; raises `sqlite3.Error`, `NewerSchema`."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version < 0:
        raise DamagedDatabase("there is no such version")
    if version > len(MIGRATIONS):
        raise NewerSchema
    return version


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables up to date; raises `sqlite3.Error`, `NewerSchema`."""
    version = check_version(connection)
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        connection.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")
