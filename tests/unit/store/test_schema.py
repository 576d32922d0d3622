"""The tables: every earlier version becomes the present one, with all that is in it."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.store import schema
from plugvisor.store.schema import MIGRATIONS, NewerSchema, list_columns, open_database
from plugvisor.store.tables import intents

from tests.helpers.old_schemas import list_versions, load_version, make_version

if TYPE_CHECKING:
    from pathlib import Path

VERSIONS = range(1, len(MIGRATIONS) + 1)


def read_tables(connection: sqlite3.Connection) -> dict[str, Any]:
    """The columns of each table and index, in order."""
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema ORDER BY name")]
    return {
        name: [row[1:] for kind in ("table", "index") for row in connection.execute(f"PRAGMA {kind}_info('{name}')")]
        for name in names
    }


def read_sql(connection: sqlite3.Connection) -> dict[str, str]:
    rows = connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
    return {name: " ".join(re.sub(r"--.*", "", sql).split()) for name, sql in rows}


def test_there_is_a_frozen_copy_of_every_version() -> None:
    """If this fails: `python -m tests.helpers.old_schemas` freezes the version that you have added."""
    assert list_versions() == list(VERSIONS)


@pytest.mark.parametrize("version", VERSIONS)
def test_no_migration_is_changed_once_it_is_frozen(tmp_path: Path, version: int) -> None:
    """Until a release has the version, it can be frozen anew, as above."""
    load_version(tmp_path / "old.db", version)
    with closing(sqlite3.connect(tmp_path / "old.db")) as frozen, closing(sqlite3.connect(":memory:")) as made:
        make_version(made, version)
        assert read_sql(frozen) == read_sql(made)


@pytest.mark.parametrize("version", [0, *VERSIONS])
def test_every_version_becomes_the_present_one(tmp_path: Path, version: int) -> None:
    path = tmp_path / "plugvisor.db"
    load_version(path, version)
    with closing(open_database(path)) as connection, closing(open_database(tmp_path / "new.db")) as new:
        assert read_tables(connection) == read_tables(new)
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert set(read_tables(connection)) >= list_columns().keys()
        if version:
            found = intents.load(connection)
            assert (set(found.intents), set(found.disabled), found.asked) == (
                {"web", "worker"},
                {"old"},
                {"worker": "4f2c-7"},
            )
            for table in ("identity", "admin_code", "journal", "journal_pruned", "troubled", "outbox"):
                assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,)


def test_a_new_database_gives_space_back_and_survives_the_loss_of_power(tmp_path: Path) -> None:
    with closing(open_database(tmp_path / "plugvisor.db")) as connection:
        pragmas = ("auto_vacuum", "journal_mode", "synchronous")
        assert [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas] == [2, "wal", 2]


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "plugvisor.db"
    load_version(path, 1)
    with closing(sqlite3.connect(path)) as connection:
        before = list(connection.iterdump())
    fails = "ALTER TABLE intent ADD COLUMN why TEXT; DELETE FROM disabled; DROP TABLE missing;"
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS[:1], fails))
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        open_database(path)
    with closing(sqlite3.connect(path)) as connection:
        assert list(connection.iterdump()) == before
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)


def test_a_later_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "plugvisor.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE later (x); PRAGMA user_version = 99;")
    before = path.read_bytes()
    with pytest.raises(NewerSchema):
        open_database(path)
    assert path.read_bytes() == before
