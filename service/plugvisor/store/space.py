"""The space that the database takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

_PAGES = 256


def release_pages(connection: sqlite3.Connection, most: int = _PAGES) -> int:
    """Give pages that hold nothing any more back to the file system; returns how many are left.

    To be done as one piece of work: a megabyte takes a few milliseconds.
    """
    connection.execute(f"PRAGMA incremental_vacuum({most})").fetchall()  # it goes on as far as it is fetched
    left: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
    return left
