"""Values that a failing disk, or somebody with an editor, has changed: each takes nothing else with it."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.store.database import Database
from plugvisor.store.reader import open_reader
from plugvisor.store.schema import DamagedDatabase, open_database
from plugvisor.store.tables import identities, intents, journal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DIGEST = hashlib.sha256(b"token").digest()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "plugvisor.db"


@pytest.fixture
def writer(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_database(path)) as connection:
        yield connection


@pytest.fixture
def reader(path: Path, writer: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    with closing(open_reader(path)) as connection:
        yield connection


def insert(connection: sqlite3.Connection, table: str, *values: Any) -> None:
    connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", values)


@pytest.mark.parametrize(
    "values",
    [
        ("bad", "x", "ops", 1.0),
        ("bad", "running", b"\xff", 1.0),
        ("bad", "running", "ops", "abc"),
        ("bad", "running", "ops", 1e300),
        ("bad", "running", "ops", float("inf")),
        ("bad", "running", "ops", -1.0),
        (b"\xff", "running", "ops", 1.0),
    ],
)
def test_an_intent_that_is_invalid_is_left_out(
    writer: sqlite3.Connection, reader: sqlite3.Connection, values: tuple[Any, ...], caplog: pytest.LogCaptureFixture
) -> None:
    insert(writer, "intent", "good", "stopped", "ops", 1.0)
    insert(writer, "intent", *values)
    assert list(intents.load(reader).intents) == ["good"]
    assert "is invalid" in caplog.text


@pytest.mark.parametrize(("by", "at"), [("", 1.0), (b"\xff", 1.0), ("ops", "abc"), ("ops", 1e300)])
def test_a_plugin_stays_disabled_if_it_is_unknown_by_whom(
    writer: sqlite3.Connection, reader: sqlite3.Connection, by: Any, at: Any
) -> None:
    insert(writer, "disabled", "one", by, at)
    assert intents.load(reader).disabled == {"one": ("unknown", 0.0)}


@pytest.mark.parametrize(
    "values",
    [
        ("bad", "root", '["*"]', DIGEST, 1.0, "ops", None),
        ("bad", "viewer", "5", DIGEST, 1.0, "ops", None),
        ("bad", "viewer", b"\xff", DIGEST, 1.0, "ops", None),
        ("bad", "viewer", "[]", DIGEST, 1.0, "ops", None),
        ("bad", "viewer", '["*"]', b"short", 1.0, "ops", None),
        ("bad", "viewer", '["*"]', DIGEST, "abc", "ops", None),
        ("bad", "viewer", '["*"]', DIGEST, 1.0, b"\xff", None),
        ("bad", "viewer", '["*"]', DIGEST, 1.0, "ops", "abc"),
        ("bad", "viewer", '["*"]', DIGEST, 1.0, "ops", 1e300),
        ("admin", "viewer", '["*"]', DIGEST, 1.0, "ops", None),
        ("Not a name", "viewer", '["*"]', DIGEST, 1.0, "ops", None),
    ],
)
def test_an_identity_that_is_invalid_is_left_out(
    writer: sqlite3.Connection, reader: sqlite3.Connection, values: tuple[Any, ...], caplog: pytest.LogCaptureFixture
) -> None:
    insert(writer, "identity", "good", "viewer", '["*"]', hashlib.sha256(b"another").digest(), 1.0, "admin", 2e9)
    insert(writer, "identity", *values)
    known, _ = identities.load(reader)
    assert [each.identity.name for each in known] == ["good"]
    assert "is invalid" in caplog.text


@pytest.mark.parametrize("values", [(b"short", b"salt", b"x"), (DIGEST, "salt", b"x"), (DIGEST, b"salt", 5)])
def test_an_admin_code_that_is_invalid_is_none(
    writer: sqlite3.Connection, reader: sqlite3.Connection, values: tuple[Any, ...]
) -> None:
    insert(writer, "admin_code", 1, *values)
    assert identities.load(reader) == ([], None)


@pytest.mark.parametrize(
    "values",
    [
        (1.0, 1.0, 1, b"no JSON"),
        (1.0, 1.0, 1, b'{"status": "no status"}'),
        (1.0, 1.0, 1, 5),
        ("abc", 1.0, 1, b"{}"),
        (1.0, 1e300, 1, b"{}"),
        (1.0, 1.0, 0, b"{}"),
    ],
)
def test_an_entry_that_is_invalid_says_so(
    writer: sqlite3.Connection, reader: sqlite3.Connection, values: tuple[Any, ...]
) -> None:
    insert(writer, "journal", 1, 1, 2.0, 2.0, 1, "state", "one", b"{}")
    insert(writer, "journal", 2, 2, *values[:3], "state", "one", values[3])
    page = journal.read_page(reader, journal.Filter(), 10, None)
    news = journal.read_news(reader, journal.Filter(), 0)
    assert {entry.id for entry in page} == {entry.id for entry in news.entries} == {1, 2}
    [invalid] = [entry for entry in page if entry.id == 2]
    assert b"cannot be read" in invalid.facts
    assert journal.read_last(reader, "state", ["one"])["one"] == invalid


@pytest.mark.parametrize("sequence", ["abc", 2**63 - 1])
def test_a_sequence_that_is_invalid_is_not_gone_on_from(
    writer: sqlite3.Connection, reader: sqlite3.Connection, sequence: Any
) -> None:
    insert(writer, "journal", 1, 1, 2.0, 2.0, 1, "state", "one", b"{}")
    insert(writer, "journal", 2, sequence, 2.0, 2.0, 1, "state", "one", b"{}")
    insert(writer, "journal_pruned", 1, sequence)
    assert journal.read_last_sequence(reader) == 1
    assert journal.read_news(reader, journal.Filter(), 0).sequence == 1
    assert journal.find_pruned(reader) == 0


@pytest.mark.parametrize(
    "script",
    [
        "ALTER TABLE intent ADD COLUMN more TEXT",
        "ALTER TABLE identity RENAME COLUMN role TO part",
        "CREATE TRIGGER more BEFORE INSERT ON intent BEGIN SELECT RAISE(ABORT, 'no'); END",
        "PRAGMA user_version = 0",
    ],
)
def test_tables_that_are_not_ours_are_set_aside(path: Path, script: str) -> None:
    with closing(open_database(path)) as connection:
        insert(connection, "disabled", "one", "ops", 1.0)
        connection.execute(script)
    with pytest.raises(DamagedDatabase):
        open_database(path)
    database = Database(path)
    database.open(is_suspect=False)
    try:
        assert database.set_aside
        assert database.connection.execute("SELECT plugin_id FROM disabled").fetchall() == [("one",)]
    finally:
        database.release()


def test_a_database_of_another_program_is_left_as_it_is(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE other (x)")
    with pytest.raises(DamagedDatabase):
        open_database(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("other",)]
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
