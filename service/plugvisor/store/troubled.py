"""The plugins in the store that were in trouble, as webhooks said, and have not been well since."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable


def load(connection: sqlite3.Connection) -> set[str]:
    """Read their ids."""
    return {plugin_id for (plugin_id,) in connection.execute("SELECT plugin_id FROM troubled")}


def add(connection: sqlite3.Connection, plugin_ids: Iterable[str]) -> None:
    """Add some."""
    connection.executemany("INSERT OR IGNORE INTO troubled VALUES (?)", [(plugin_id,) for plugin_id in plugin_ids])


def remove(connection: sqlite3.Connection, plugin_ids: Iterable[str]) -> None:
    """Remove some."""
    connection.executemany("DELETE FROM troubled WHERE plugin_id = ?", [(plugin_id,) for plugin_id in plugin_ids])


def replace_all(connection: sqlite3.Connection, plugin_ids: Iterable[str]) -> None:
    """Have exactly these."""
    connection.execute("DELETE FROM troubled")
    add(connection, plugin_ids)
