"""Errors of SQLite and the system when the disk fails, in words for a person: none has a path in it."""

from __future__ import annotations

import sqlite3

_WORDS = {
    sqlite3.SQLITE_BUSY: "another process has locked the database",
    sqlite3.SQLITE_PROTOCOL: "another process has locked the database",
    sqlite3.SQLITE_READONLY: "the database or its file system is read-only",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk reports an error",
    sqlite3.SQLITE_CANTOPEN: "the database cannot be opened",
    sqlite3.SQLITE_PERM: "the database cannot be opened",
    sqlite3.SQLITE_AUTH: "the database cannot be opened",
}
_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def find_code(error: BaseException) -> int:
    """SQLite's primary result code; SQLITE_ERROR if it is none of SQLite's."""
    code: int = getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_ERROR
    return code & 0xFF


def is_broken(error: BaseException) -> bool:
    """Whether the database is damaged. That the disk is full or fails is no damage."""
    return find_code(error) in _BROKEN


def is_of_disk(error: BaseException) -> bool:
    """Whether a statement failed because of the disk or the database, and not because of what it says."""
    return find_code(error) in _WORDS or is_broken(error)


def describe(error: BaseException) -> str:
    """Why nothing can be remembered."""
    if isinstance(error, OSError):
        return f"the state folder cannot be used: {error.strerror}"
    if isinstance(error, sqlite3.Error):
        return _WORDS.get(find_code(error)) or f"the database cannot be used: {error}"
    return str(error)
