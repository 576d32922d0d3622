"""Frozen copies of every version of the store's database: `python -m tests.helpers.old_schemas` writes the newest.

A copy is written once, when its version is made. It is what users have on their disks.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from plugvisor.store.schema import MIGRATIONS

FOLDER = Path(__file__).parents[1] / "unit" / "store" / "schemas"

SAMPLE_ROWS = """
INSERT INTO intent VALUES ('web', 'stopped', 'ops', 1764000000.5), ('worker', 'running', 'supervisorctl', 1764000001.0);
INSERT INTO disabled VALUES ('old', 'admin', 1764000002.0);
INSERT INTO asked VALUES ('worker', '4f2c-7');
INSERT INTO identity VALUES ('ops', 'operator', '["web-*"]', zeroblob(32), 1764000003.0, 'admin', NULL);
INSERT INTO admin_code VALUES (1, zeroblob(32), zeroblob(16), zeroblob(64));
INSERT INTO journal VALUES (7, 9, 1764000004.0, 1764000005.0, 2, 'state', 'web', '{"state":"RUNNING"}');
INSERT INTO journal_pruned VALUES (1, 3);
INSERT INTO troubled VALUES ('web');
INSERT INTO outbox VALUES ('msg_1', 'https://example.com/', 'plugin.error', 'web', '{}', 1764000006.0, 1, 1764000016.0);
"""
"""In tables that the first version has."""


def list_versions() -> list[int]:
    """The versions of which there is a frozen copy."""
    return sorted(int(path.stem.partition("_")[2]) for path in FOLDER.glob("version_*.sql"))


def load_version(path: Path, version: int) -> None:
    """Make a database of an earlier version, from its frozen copy; 0 is one without tables."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        if version:
            connection.executescript((FOLDER / f"version_{version}.sql").read_text())


def make_version(connection: sqlite3.Connection, version: int) -> None:
    """Make the tables that the migrations lead to."""
    for script in MIGRATIONS[:version]:
        connection.executescript(script)


def dump_version(version: int) -> str:
    """What a frozen copy of a version contains."""
    with closing(sqlite3.connect(":memory:")) as connection:
        make_version(connection, version)
        connection.executescript(SAMPLE_ROWS)
        return "\n".join([*connection.iterdump(), f"PRAGMA user_version = {version};", ""])


if __name__ == "__main__":
    newest = len(MIGRATIONS)
    (FOLDER / f"version_{newest}.sql").write_text(dump_version(newest))
