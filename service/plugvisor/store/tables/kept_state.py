"""The state that the engine keeps, as it was when this machine last agreed with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3


def load(connection: sqlite3.Connection) -> bytes | None:
    """Read it; None if this machine has never agreed with an engine."""
    row = connection.execute("SELECT rows FROM kept_state").fetchone()
    return row[0] if row is not None and isinstance(row[0], bytes) else None


def save(connection: sqlite3.Connection, rows: bytes) -> None:
    """Remember it."""
    connection.execute("INSERT OR REPLACE INTO kept_state VALUES (1, ?)", (rows,))
