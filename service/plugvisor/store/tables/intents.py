"""Intents and disabled plugins in the store."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec

from plugvisor.models.stored.intent import Intent, Moment, Wanted

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

T = TypeVar("T")

logger = logging.getLogger(__name__)

_SOMEBODY = ("unknown", 0.0)


class StoredIntents(NamedTuple):
    """All that is remembered of what operators want."""

    intents: dict[str, Intent]
    disabled: dict[str, tuple[str, float]]
    """By plugin, who has disabled it and when."""
    asked: dict[str, str]
    """By plugin, the token of the last request of supervisorctl or docker that was taken over."""

    def copy(self) -> StoredIntents:
        """The same, whatever becomes of this one."""
        return StoredIntents(dict(self.intents), dict(self.disabled), dict(self.asked))


def load(connection: sqlite3.Connection) -> StoredIntents:
    """Read everything; what is invalid in the database is left out, and logged."""
    intents = _select(connection, "intent", tuple[str, Wanted, str, Moment])
    return StoredIntents(
        {name: Intent(wanted, by, at) for name, wanted, by, at in intents},
        {
            name: _read_disabled(by, at)
            for name, by, at in connection.execute("SELECT * FROM disabled")
            if isinstance(name, str)
        },
        dict(_select(connection, "asked", tuple[str, str])),
    )


def _select(connection: sqlite3.Connection, table: str, row_type: type[T]) -> Iterator[T]:
    for row in connection.execute(f"SELECT * FROM {table}"):  # noqa: S608 - one of ours
        try:
            yield msgspec.convert(row, row_type)
        except msgspec.ValidationError as error:
            logger.error("a row of %r is invalid in the database: %s", table, error)


def _read_disabled(by: object, at: object) -> tuple[str, float]:
    """Who has disabled a plugin, and when; it is disabled even if that is unknown."""
    try:
        return msgspec.convert((by or None, at), tuple[str, Moment])
    except msgspec.ValidationError:
        return _SOMEBODY


def save_intent(connection: sqlite3.Connection, plugin_id: str, intent: Intent | None, token: str = "") -> None:
    """Remember an intent, or with None forget it; with the token of the request of supervisorctl that it comes from."""
    if intent is None:
        connection.execute("DELETE FROM intent WHERE plugin_id = ?", (plugin_id,))
    else:
        values = (plugin_id, intent.wanted, intent.by, intent.at)
        connection.execute("INSERT OR REPLACE INTO intent VALUES (?, ?, ?, ?)", values)
    if token:
        connection.execute("INSERT OR REPLACE INTO asked VALUES (?, ?)", (plugin_id, token))


def save_disabled(connection: sqlite3.Connection, plugin_id: str, by: str, at: float) -> None:
    """Remember that a plugin is disabled."""
    connection.execute("INSERT OR REPLACE INTO disabled VALUES (?, ?, ?)", (plugin_id, by, at))


def delete_disabled(connection: sqlite3.Connection, plugin_id: str) -> None:
    """Remember that a plugin is not disabled."""
    connection.execute("DELETE FROM disabled WHERE plugin_id = ?", (plugin_id,))


def save(
    connection: sqlite3.Connection,
    plugin_id: str,
    intent: Intent | None,
    disabled: tuple[str, float] | None,
    token: str,
) -> None:
    """Remember all that is known of a plugin, and nothing else."""
    save_intent(connection, plugin_id, intent, token)
    if disabled is None:
        delete_disabled(connection, plugin_id)
    else:
        save_disabled(connection, plugin_id, *disabled)


def save_all(connection: sqlite3.Connection, known: StoredIntents) -> None:
    """Remember these and no others."""
    for table in ("intent", "disabled", "asked"):
        connection.execute(f"DELETE FROM {table}")  # noqa: S608 - one of ours
    for plugin_id in {*known.intents, *known.disabled, *known.asked}:
        save(
            connection,
            plugin_id,
            known.intents.get(plugin_id),
            known.disabled.get(plugin_id),
            known.asked.get(plugin_id, ""),
        )
