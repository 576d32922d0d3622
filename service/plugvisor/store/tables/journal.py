"""The journal in the store: adding entries and counting them up, pages of it, what is new, and pruning."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec

from plugvisor.models.stored.intent import Moment  # noqa: TC001 - msgspec reads it
from plugvisor.models.stored.journal import KINDS, LONGEST_COUNT_SECONDS, Facts, Kind

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Sequence

_COLUMNS = "id, sequence, at, until, times, kind, plugin_id, facts"
_NEWEST_FIRST = "ORDER BY at DESC, id DESC"
SCANNED_ENTRIES = 500
"""As many are looked at in one step of a stream that catches up."""
_END = 10**18
"""No sequence is as large, unless a failing disk has changed it; nor is what is text, which SQLite takes for larger."""
_UNKNOWN = msgspec.json.encode(Facts(detail="what was said of it cannot be read"))
_LATEST_ENTRIES = 16
"""Among so many of a plugin's newest entries of a kind is the one that has changed last."""


class StoredEntry(NamedTuple):
    """A row of the journal; `id` and `sequence` are 0 until it is one."""

    id: int
    sequence: int
    at: Moment
    until: Moment
    times: Annotated[int, msgspec.Meta(ge=1)]
    kind: Kind
    plugin_id: str
    facts: bytes
    """JSON of a `Facts`."""


class Saved(NamedTuple):
    """The entries that were written."""

    entries: list[StoredEntry]
    """In the order of their sequences."""
    added: int
    """How many of them are new to the caller."""
    size_bytes: int


class Totals(NamedTuple):
    """The journal as a whole."""

    entries: int
    size_bytes: int


class Filter(NamedTuple):
    """Which entries."""

    plugin_id: str = ""
    """Empty: of any plugin, or of none."""
    kinds: Sequence[Kind] = ()
    """Empty: of every kind."""
    since: float = -math.inf
    """It has happened then or later, if only for the last time."""
    until: float = math.inf
    """It has happened then or before."""

    def matches(self, kind: Kind, plugin_id: str) -> bool:
        """Whether an entry is among them, whenever it has happened."""
        return (not self.plugin_id or plugin_id == self.plugin_id) and (not self.kinds or kind in self.kinds)


# -- writing


def save(connection: sqlite3.Connection, entries: Sequence[StoredEntry], last_sequence: int) -> Saved:
    """Add entries, or bring those up to date that have an id; each gets the next sequence.

    Args:
        last_sequence: the last one that the caller knows.
    """
    sequence = read_last_sequence(connection)
    if not sequence and last_sequence:  # this database has taken the place of another one
        _remember_pruned(connection, last_sequence)
    unknown = range(last_sequence + 1, sequence + 1)
    saved = []
    added = 0
    for sequence, entry in enumerate(entries, max(sequence, last_sequence) + 1):  # noqa: B020 - each goes on from there
        # a write that was not waited for to its end may have added it
        entry_id = entry.id or (_find_added(connection, entry, unknown) if unknown else 0)
        row = entry._replace(id=entry_id, sequence=sequence)
        if not (entry_id and _update(connection, row)):
            row = row._replace(id=_insert(connection, row))
        added += row.id != entry.id
        saved.append(row)
    return Saved(saved, added, measure(connection))


def _find_added(connection: sqlite3.Connection, entry: StoredEntry, sequences: range) -> int:
    """The id of an entry, if it was added with one of these sequences; else 0."""
    row = connection.execute(
        "SELECT id FROM journal INDEXED BY journal_by_plugin "
        "WHERE plugin_id = ? AND kind = ? AND at = ? AND sequence BETWEEN ? AND ?",
        (entry.plugin_id, entry.kind, entry.at, sequences[0], sequences[-1]),
    ).fetchone()
    return row[0] if row is not None else 0


def _update(connection: sqlite3.Connection, entry: StoredEntry) -> bool:
    """Returns whether it is still there; the database may be another one, in which the id is another entry's."""
    return (
        connection.execute(
            "UPDATE journal SET sequence = ?, until = ?, times = ?, facts = ? "
            "WHERE id = ? AND at = ? AND plugin_id = ?",
            (entry.sequence, entry.until, entry.times, entry.facts, entry.id, entry.at, entry.plugin_id),
        ).rowcount
        > 0
    )


def _insert(connection: sqlite3.Connection, entry: StoredEntry) -> int:
    rowid = connection.execute(
        "INSERT INTO journal (sequence, at, until, times, kind, plugin_id, facts) VALUES (?, ?, ?, ?, ?, ?, ?)",
        entry[1:],
    ).lastrowid
    assert rowid is not None
    return rowid


def prune(connection: sqlite3.Connection, before: float, most_bytes: int, most_entries: int, most_pages: int) -> int:
    """Delete some of the entries that have changed least recently; returns how many.

    The newest one is kept, and with it the sequence.

    Args:
        before: delete those that have happened last before this, up to the first one that has not.
        most_bytes: delete as many as are asked for if the database is larger.
        most_entries: how many to delete at most.
        most_pages: by how many the file becomes smaller at most.
    """
    is_too_large = measure(connection) > most_bytes
    oldest = connection.execute(
        "SELECT sequence, until FROM journal WHERE sequence < (SELECT max(sequence) FROM journal) "
        "ORDER BY sequence LIMIT ?",
        (most_entries,),
    ).fetchall()
    last = count = 0
    for sequence, until in oldest:
        if not is_too_large and until >= before:
            break
        last, count = sequence, count + 1
    if count:
        connection.execute("DELETE FROM journal WHERE sequence <= ?", (last,))
        _remember_pruned(connection, last)
    [free] = connection.execute("PRAGMA freelist_count").fetchone()
    for _ in range(min(free, most_pages)):
        # one after another: the module sqlite3 goes one step in a statement without columns, and a step is one page
        connection.execute("PRAGMA incremental_vacuum(1)")
    return count


def _remember_pruned(connection: sqlite3.Connection, sequence: int) -> None:
    connection.execute("INSERT OR REPLACE INTO journal_pruned VALUES (1, ?)", (sequence,))


# -- reading


def measure(connection: sqlite3.Connection) -> int:
    """The bytes of the database that are in use."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def read_last_sequence(connection: sqlite3.Connection) -> int:
    """The sequence of the entry that was written last; 0 if there is none."""
    [last] = connection.execute("SELECT max(sequence) FROM journal WHERE sequence < ?", (_END,)).fetchone()
    return last or 0


def sum_up(connection: sqlite3.Connection) -> Totals:
    """The journal as a whole; it looks at an index of every entry."""
    [count] = connection.execute("SELECT count(*) FROM journal").fetchone()
    return Totals(count, measure(connection))


def find_pruned(connection: sqlite3.Connection) -> int:
    """The largest sequence of an entry that is no longer kept; 0 if every one is."""
    row = connection.execute("SELECT sequence FROM journal_pruned WHERE sequence < ?", (_END,)).fetchone()
    return row[0] if row is not None else 0


def make_page_query(which: Filter, limit: int, after: tuple[float, int] | None) -> tuple[str, list[Any]]:
    """The statement for a page, and its parameters: for each kind a part that reads an index from its end.

    Args:
        after: the time and the id of the last entry of the page before.
    """
    conditions: list[str] = []
    values: list[Any] = []
    if which.plugin_id:
        conditions.append("plugin_id = ?")
        values.append(which.plugin_id)
    if which.since > -math.inf:
        # an entry that began earlier may have been counted up since
        conditions.append("at >= ? AND until >= ?")
        values += [which.since - LONGEST_COUNT_SECONDS, which.since]
    if which.until < math.inf:
        conditions.append("at <= ?")
        values.append(which.until)
    if after is not None:
        conditions.append("(at, id) < (?, ?)")
        values += after
    where = " AND ".join(["kind = ?", *conditions])
    kinds = which.kinds or KINDS
    # by name: with a period, SQLite would take the other one for a plugin, and look at everything in the period
    index = "journal_by_plugin" if which.plugin_id else "journal_by_kind"
    part = f"SELECT * FROM (SELECT {_COLUMNS} FROM journal INDEXED BY {index} WHERE {where} {_NEWEST_FIRST} LIMIT ?)"  # noqa: S608
    parameters = [value for kind in kinds for value in (kind, *values, limit)]
    return f"{' UNION ALL '.join([part] * len(kinds))} {_NEWEST_FIRST} LIMIT ?", [*parameters, limit]


def read_page(connection: sqlite3.Connection, which: Filter, limit: int, after_id: int | None) -> list[StoredEntry]:
    """The newest entries, at most so many; with an id, those that are older than that entry."""
    after = None
    if after_id is not None:
        after = connection.execute("SELECT at, id FROM journal WHERE id = ?", (after_id,)).fetchone()
        if after is None:
            return []  # it was pruned, and so was everything older
    statement, parameters = make_page_query(which, limit, after)
    return [_read_entry(row) for row in connection.execute(statement, parameters)]


class News(NamedTuple):
    """The entries that were written after a sequence."""

    entries: list[StoredEntry]
    sequence: int
    """Up to which entries were looked at."""
    has_more: bool


def read_news(connection: sqlite3.Connection, which: Filter, sequence: int) -> News:
    """Look at the next entries that were written after a sequence; the times of the filter do not count."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM journal WHERE sequence > ? AND sequence < ? ORDER BY sequence LIMIT ?",  # noqa: S608
        (sequence, _END, SCANNED_ENTRIES),
    ).fetchall()
    entries = [_read_entry(row) for row in rows if which.matches(row[5], row[6])]
    return News(entries, rows[-1][1] if rows else sequence, len(rows) == SCANNED_ENTRIES)


def read_last(connection: sqlite3.Connection, kind: Kind, plugin_ids: Collection[str]) -> dict[str, StoredEntry]:
    """The entry of a kind that has changed last, of each of these plugins that has one."""
    statement = (
        f"SELECT * FROM (SELECT {_COLUMNS} FROM journal WHERE plugin_id = ? AND kind = ? {_NEWEST_FIRST} LIMIT ?) "  # noqa: S608
        "ORDER BY sequence DESC LIMIT 1"
    )
    found = {}
    for plugin_id in plugin_ids:
        row = connection.execute(statement, (plugin_id, kind, _LATEST_ENTRIES)).fetchone()
        if row is not None:
            found[plugin_id] = _read_entry(row)
    return found


def _read_entry(row: tuple[Any, ...]) -> StoredEntry:
    """An entry; what a failing disk has made invalid in one is replaced, so that all others can be read."""
    try:
        entry = msgspec.convert(row, StoredEntry, builtin_types=(bytes,))
    except msgspec.ValidationError:
        return StoredEntry(row[0], row[1], 0.0, 0.0, 1, "service", "", _UNKNOWN)
    try:
        msgspec.json.decode(entry.facts, type=Facts)
    except msgspec.DecodeError:
        return entry._replace(facts=_UNKNOWN)
    return entry
