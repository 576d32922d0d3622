"""The operations of installation: stored before they are answered, and when they have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

MOST_KEPT = 200
"""With the log of each."""


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


def save(connection: sqlite3.Connection, operations: Iterable[StoredOperation]) -> None:
    """Add or replace operations, and forget the oldest beyond those that are kept."""
    connection.executemany("INSERT OR REPLACE INTO operation VALUES (?, ?, ?, ?)", operations)
    connection.execute(
        "DELETE FROM operation WHERE state != 'running' AND id NOT IN "
        "(SELECT id FROM operation ORDER BY begun_at DESC, id LIMIT ?)",
        (MOST_KEPT,),
    )
