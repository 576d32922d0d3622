"""Identities in the store, and the admin code that a request has made."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec

from plugvisor.models.stored.identity import RESERVED_NAMES, Identity, Name, Patterns, Role
from plugvisor.models.stored.intent import Moment  # noqa: TC001 - msgspec reads it

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

logger = logging.getLogger(__name__)

_COLUMNS = "name, role, plugins, token_sha256, created_at, created_by, expires_at"


Digest = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class _Row(NamedTuple):
    name: Name
    role: Role
    plugins: str
    token_sha256: Digest
    created_at: Moment
    created_by: str
    expires_at: Moment | None


class StoredIdentity(NamedTuple):
    """An identity, and what is known of it."""

    identity: Identity
    digest: bytes
    """SHA-256 of its token."""
    created_at: float
    created_by: str


class StoredCode(NamedTuple):
    """An admin code that a request has made; it applies as long as the configured code is the one it replaces."""

    digest: Digest
    """SHA-256 of the code."""
    salt: bytes
    replaced: bytes
    """scrypt of the configured code, with that salt."""


def load(connection: sqlite3.Connection) -> tuple[list[StoredIdentity], StoredCode | None]:
    """Read everything; an identity that somebody has made invalid in the database is left out, and logged."""
    identities = []
    rows = connection.execute(f"SELECT {_COLUMNS} FROM identity ORDER BY name")  # noqa: S608 - a constant
    for row in rows:
        try:
            identities.append(_read_identity(row))
        except msgspec.DecodeError as error:
            logger.error("the identity %r in the database is invalid: %s", row[0], error)
    return identities, _read_code(connection)


def _read_identity(row: tuple[object, ...]) -> StoredIdentity:
    name, role, plugins, digest, at, by, expires_at = msgspec.convert(row, _Row, builtin_types=(bytes,))
    if name in RESERVED_NAMES:
        raise msgspec.ValidationError("the name is reserved")
    patterns = msgspec.json.decode(plugins, type=Patterns)
    return StoredIdentity(Identity(name, role, patterns, expires_at), digest, at, by)


def _read_code(connection: sqlite3.Connection) -> StoredCode | None:
    row = connection.execute("SELECT code_sha256, salt, replaced FROM admin_code").fetchone()
    try:
        return row and msgspec.convert(row, StoredCode, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        logger.error("the admin code in the database is invalid, and the configured one applies: %s", error)
        return None


def save(connection: sqlite3.Connection, stored: StoredIdentity) -> None:
    """Add an identity, or put it in the place of the one of its name."""
    identity = stored.identity
    values = (
        identity.name,
        identity.role,
        msgspec.json.encode(identity.plugins).decode(),
        stored.digest,
        stored.created_at,
        stored.created_by,
        identity.expires_at,
    )
    connection.execute(f"INSERT OR REPLACE INTO identity ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", values)  # noqa: S608


def delete(connection: sqlite3.Connection, name: str) -> None:
    """Remove an identity."""
    connection.execute("DELETE FROM identity WHERE name = ?", (name,))


def save_code(connection: sqlite3.Connection, code: StoredCode | None) -> None:
    """Remember the admin code that a request has made; None: the configured one applies."""
    connection.execute("DELETE FROM admin_code")
    if code is not None:
        connection.execute("INSERT INTO admin_code (id, code_sha256, salt, replaced) VALUES (1, ?, ?, ?)", code)


def save_all(connection: sqlite3.Connection, identities: Iterable[StoredIdentity], code: StoredCode | None) -> None:
    """Remember these and no others."""
    connection.execute("DELETE FROM identity")
    for stored in identities:
        save(connection, stored)
    save_code(connection, code)
