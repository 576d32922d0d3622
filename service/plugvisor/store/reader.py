"""Connections that only read, and the threads that have them."""

from __future__ import annotations

import os
import queue
import sqlite3
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from plugvisor.store.schema import check_version

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from pathlib import Path

    Future = asyncio.Future[Any]

BUSY_SECONDS = 2.0
"""How long a reader waits while the database is recovered, by itself or by another process."""
THREADS = 2


class Readers:
    """Threads that ask questions, each on a connection of its own: the file may be another the next time.

    They do not keep the process from ending, whatever the disk does.

    Args:
        path: of the database's file.
        settle: called in a thread with the future of a question, its answer and its error.
    """

    def __init__(self, path: Path, settle: Callable[[Future, Any, Exception | None], object]) -> None:
        self._path = path
        self._settle = settle
        self._questions: queue.SimpleQueue[tuple[Future, Callable[[sqlite3.Connection], Any]] | None]
        self._questions = queue.SimpleQueue()

    def start(self) -> None:
        """Start the threads; raises `RuntimeError` if there cannot be more."""
        for number in range(THREADS):
            threading.Thread(target=self._run, name=f"store-reader-{number}", daemon=True).start()

    def ask(self, future: Future, query: Callable[[sqlite3.Connection], Any]) -> None:
        """Ask a question; `settle` gets the future with the answer."""
        self._questions.put((future, query))

    def close(self) -> None:
        """End the threads when they are idle."""
        for _ in range(THREADS):
            self._questions.put(None)

    def _run(self) -> None:
        while (question := self._questions.get()) is not None:
            future, query = question
            if future.cancelled():  # the caller waits no longer
                continue
            answer, failure = None, None
            try:
                with closing(open_reader(self._path)) as connection:
                    answer = query(connection)
            except Exception as error:  # noqa: BLE001 - the caller gets it, whatever it is
                failure = error
            self._settle(future, answer, failure)


def open_reader(path: Path) -> sqlite3.Connection:
    """Open the database to read it; what a process that was killed has left in the log is recovered.

    Raises:
        sqlite3.Error
        NewerSchema
    """
    try:
        return _open(path, "mode=rw")
    except sqlite3.OperationalError:
        # on a read-only file system SQLite cannot make the files beside it, which it needs if it is to see changes
        if not _is_whole(path):
            raise
        return _open(path, "mode=ro&immutable=1")


def _is_whole(path: Path) -> bool:
    """Whether the database is all in one file."""
    if not path.is_file():
        return False
    with suppress(FileNotFoundError):
        return os.stat(f"{path}-wal").st_size == 0
    return True


def _open(path: Path, parameters: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.as_uri()}?{parameters}", uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    # a text that a failing disk has changed makes one row invalid, and not all of them unreadable
    connection.text_factory = lambda text: text.decode(errors="replace")
    try:
        connection.execute("PRAGMA query_only = ON")
        check_version(connection)
    except BaseException:
        connection.close()
        raise
    return connection
