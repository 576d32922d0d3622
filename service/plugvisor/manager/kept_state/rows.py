"""The kept state, as rows that can be compared one by one."""

from __future__ import annotations

import logging
import zlib
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

import msgspec

from plugvisor.models.stored.identity import RESERVED_NAMES, Identity, Name, Patterns, Role
from plugvisor.models.stored.intent import Intent, Moment
from plugvisor.store.tables.identities import Digest, StoredCode, StoredIdentity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from plugvisor.store.tables.intents import StoredIntents

T = TypeVar("T")

logger = logging.getLogger(__name__)

Rows = dict[str, Any]
"""By `<table>/<key>`, each as JSON has it."""

FORMAT = 1
MOST_BYTES = 32 << 20
"""Of the rows as JSON; what unpacks to more is none of ours."""
IDENTITY, CODE, INTENT, DISABLED, ASKED = "identity", "code", "intent", "disabled", "asked"


class NewerFormat(Exception):
    """It was written by a later version of Plugvisor."""


class _Snapshot(msgspec.Struct):
    format: Annotated[int, msgspec.Meta(ge=1)]
    rows: Rows


class _IdentityRow(NamedTuple):
    role: Role
    plugins: Patterns
    digest: Digest
    created_at: Moment
    created_by: str
    expires_at: Moment | None


def make_rows(identities: Iterable[StoredIdentity], code: StoredCode | None, intents: StoredIntents) -> Rows:
    """All that is kept."""
    rows: dict[str, object] = {
        f"{IDENTITY}/{each.identity.name}": _IdentityRow(
            each.identity.role,
            each.identity.plugins,
            each.digest,
            each.created_at,
            each.created_by,
            each.identity.expires_at,
        )
        for each in identities
    }
    if code is not None:
        rows[f"{CODE}/"] = code
    for table, values in ((INTENT, intents.intents), (DISABLED, intents.disabled), (ASKED, intents.asked)):
        rows |= {f"{table}/{plugin_id}": value for plugin_id, value in values.items()}
    # as they are when they were kept and read again, so that they can be compared
    found: Rows = msgspec.json.decode(msgspec.json.encode(rows))
    return found


def merge(base: Rows, mine: Rows, theirs: Rows) -> Rows:
    """Merge two changes of the same rows; a row that both have changed is as in `mine`."""
    merged = dict(theirs)
    for key in base.keys() | mine.keys():
        if mine.get(key) != base.get(key):
            if key in mine:
                merged[key] = mine[key]
            else:
                merged.pop(key, None)
    return merged


def find_changes(before: Rows, after: Rows) -> Rows:
    """The rows that differ, as they are after; None for one that is gone."""
    return {key: after.get(key) for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


def apply_changes(before: Rows, changes: Rows) -> Rows:
    """The rows after changes, as `find_changes` has them."""
    return {key: value for key, value in (before | changes).items() if value is not None}


def pack(rows: Rows) -> bytes:
    """As it is kept; the same for the same rows."""
    return zlib.compress(msgspec.json.encode(_Snapshot(FORMAT, dict(sorted(rows.items())))))


def unpack(data: bytes) -> Rows:
    """The rows that were packed.

    Raises:
        ValueError: they were not, or are damaged.
        NewerFormat
    """
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(data, MOST_BYTES)
        if not unpacker.eof:
            raise ValueError("it is too large, or not whole")
        snapshot = msgspec.json.decode(text, type=_Snapshot)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if snapshot.format > FORMAT:
        raise NewerFormat
    return snapshot.rows


class Changes(NamedTuple):
    """Changes to take over, by their keys; None: it is gone."""

    identities: dict[str, StoredIdentity | None]
    code: tuple[StoredCode | None, ...]
    """Empty if it has not changed."""
    intents: dict[str, Intent | None]
    disabled: dict[str, tuple[str, float] | None]
    asked: dict[str, str | None]


def read_changes(rows: Rows) -> Changes:
    """The values of rows; what is invalid is left out, and logged."""
    tables: dict[str, dict[str, Any]] = {}
    for key, value in rows.items():
        table, _, name = key.partition("/")
        tables.setdefault(table, {})[name] = value
    identities = {}
    for name, row in _convert(tables, IDENTITY, _IdentityRow).items():
        try:
            if msgspec.convert(name, Name) not in RESERVED_NAMES:
                identities[name] = row and StoredIdentity(
                    Identity(name, row.role, row.plugins, row.expires_at), row.digest, row.created_at, row.created_by
                )
        except msgspec.ValidationError:
            logger.error("an identity that is kept has an invalid name, and is left out")
    return Changes(
        identities,
        tuple(_convert(tables, CODE, StoredCode).values()),
        _convert(tables, INTENT, Intent),
        _convert(tables, DISABLED, tuple[str, float]),
        _convert(tables, ASKED, str),
    )


def _convert(tables: Mapping[str, Mapping[str, Any]], table: str, row_type: type[T]) -> dict[str, T | None]:
    found = {}
    for name, value in tables.get(table, {}).items():
        try:
            found[name] = None if value is None else msgspec.convert(value, row_type)
        except msgspec.ValidationError as error:
            logger.error("a row of %r that is kept is invalid: %s", table, error)
    return found
