"""Intents in the store, and what is disabled."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from plugvisor.models.stored.intent import Intent
from plugvisor.models.stored.timestamp import Timestamp

if TYPE_CHECKING:
    import sqlite3

logger = logging.getLogger(__name__)

_SOMEBODY = ("unknown", 0.0)


class StoredIntents(NamedTuple):
    """All that is remembered of what operators want."""

    intents: dict[str, Intent]
    disabled: dict[str, tuple[str, float]]
    """By plugin, who has disabled it and when."""
    asked: dict[str, str]
    """By plugin, the token of the last request of supervisorctl that was taken over."""


def load(connection: sqlite3.Connection) -> StoredIntents:
    """Read everything; what a failing disk has made invalid takes nothing else with it."""
    intents: dict[str, Intent] = {}
    for name, wanted, by, at in connection.execute("SELECT * FROM intent"):
        try:
            intents[msgspec.convert(name, str)] = msgspec.convert({"wanted": wanted, "by": by, "at": at}, Intent)
        except msgspec.ValidationError as error:
            logger.error("what is wanted of %r is invalid in the database: %s", name, error)
    disabled = {}
    for name, by, at in connection.execute("SELECT * FROM disabled"):
        if isinstance(name, str):
            disabled[name] = _read_disabled(by, at)
    asked = {name: token for name, token in connection.execute("SELECT * FROM asked") if isinstance(name, str)}
    return StoredIntents(intents, disabled, asked)


def _read_disabled(by: object, at: object) -> tuple[str, float]:
    """Who has disabled a plugin, and when; it is disabled even if that is unknown."""
    try:
        return msgspec.convert((by or None, at), tuple[str, Timestamp])
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
