"""The state of webhooks: the messages until they are delivered, and which plugins were in trouble."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable


class StoredDelivery(NamedTuple):
    """A message that one receiver is still to get: a row."""

    id: str
    """The message's; the same for every receiver."""
    url: str
    """By what the receiver is recognised."""
    kind: str
    plugin_id: str
    body: bytes
    created_at: float
    attempts: int
    next_at: float


def load(connection: sqlite3.Connection) -> list[StoredDelivery]:
    """Read everything, in the order in which it is due."""
    return [StoredDelivery(*row) for row in connection.execute("SELECT * FROM outbox ORDER BY next_at, id")]


def save(connection: sqlite3.Connection, deliveries: Iterable[StoredDelivery]) -> None:
    """Add deliveries, or replace those of the same message and receiver."""
    connection.executemany("INSERT OR REPLACE INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?, ?)", deliveries)


def change_bodies(connection: sqlite3.Connection, bodies: Iterable[tuple[bytes, str]]) -> None:
    """Replace the bodies of messages, each given with its id, where they are still to be delivered."""
    connection.executemany("UPDATE outbox SET body = ? WHERE id = ?", bodies)


def delete(connection: sqlite3.Connection, message_id: str, url: str) -> None:
    """Forget a delivery."""
    connection.execute("DELETE FROM outbox WHERE id = ? AND url = ?", (message_id, url))


def replace_all(connection: sqlite3.Connection, deliveries: Iterable[StoredDelivery]) -> None:
    """Have exactly these deliveries."""
    connection.execute("DELETE FROM outbox")
    save(connection, deliveries)


def load_troubled(connection: sqlite3.Connection) -> set[str]:
    """Read the ids of the plugins that were in trouble and have not been well since."""
    return {plugin_id for (plugin_id,) in connection.execute("SELECT plugin_id FROM troubled")}


def add_troubled(connection: sqlite3.Connection, plugin_ids: Iterable[str]) -> None:
    """Remember that plugins are in trouble."""
    connection.executemany("INSERT OR IGNORE INTO troubled VALUES (?)", [(plugin_id,) for plugin_id in plugin_ids])


def remove_troubled(connection: sqlite3.Connection, plugin_ids: Iterable[str]) -> None:
    """Remember that plugins are well, or gone."""
    connection.executemany("DELETE FROM troubled WHERE plugin_id = ?", [(plugin_id,) for plugin_id in plugin_ids])


def replace_troubled(connection: sqlite3.Connection, plugin_ids: Iterable[str]) -> None:
    """Have exactly these plugins be in trouble."""
    connection.execute("DELETE FROM troubled")
    add_troubled(connection, plugin_ids)
