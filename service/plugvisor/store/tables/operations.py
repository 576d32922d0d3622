"""The operations of installation: stored before they are answered, and when they have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import sqlite3

MOST_KEPT = 1000


class StoredOperation(NamedTuple):
    """A row."""

    id: str
    begun_at: float
    state: str
    body: bytes
    """JSON of `OperationLog`."""


def load(connection: sqlite3.Connection) -> list[StoredOperation]:
    """Read every operation, the newest first."""
    return [StoredOperation(*row) for row in connection.execute("SELECT * FROM operation ORDER BY begun_at DESC, id")]


def save(connection: sqlite3.Connection, operation: StoredOperation) -> None:
    """Add or replace an operation, and forget the oldest beyond those that are kept."""
    connection.execute("INSERT OR REPLACE INTO operation VALUES (?, ?, ?, ?)", operation)
    connection.execute(
        "DELETE FROM operation WHERE state != 'running' AND id NOT IN "
        "(SELECT id FROM operation ORDER BY begun_at DESC, id LIMIT ?)",
        (MOST_KEPT,),
    )
