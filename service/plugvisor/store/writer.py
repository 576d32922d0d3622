"""The thread that writes: it groups work into transactions, and opens the database again when it must."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from plugvisor.errors import StoreUnavailable
from plugvisor.store.database import Database
from plugvisor.store.failures import describe, is_broken, is_of_disk
from plugvisor.store.folder import FolderInUse, UnsafeFolder
from plugvisor.store.schema import NewerSchema
from plugvisor.store.work_queue import WorkQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from plugvisor.store.work_queue import Item

logger = logging.getLogger(__name__)

IDLE_SECONDS = 1.0
"""How often to look whether the file is still the one that is open."""
RETRY_SECONDS = (1.0, 2.0, 4.0, 5.0)
"""After how long an unavailable store is tried again; the last is repeated."""
STALL_SECONDS = 1.0
"""A disk that takes longer does not answer."""

_MOST_ATTEMPTS = 3
_FAILURES = (OSError, sqlite3.Error, NewerSchema, UnsafeFolder, FolderInUse)


class Outcome(NamedTuple):
    """The result of some work."""

    item: Item
    value: Any
    error: Exception | None


class _Moved(Exception):
    """The file that is open is no longer the database."""

    def __str__(self) -> str:
        return "the database is replaced again and again"


class _Defect(Exception):
    def __str__(self) -> str:
        return "the store has a defect, of which the service's log has the details"


class Writer:
    """Writes from `start` until its queue is closed.

    Args:
        settle: called in the thread with what became of some work.
        report: called in the thread when `problem` may be another; with whether another database is in use now.
        on_end: called in the thread at its end.
    """

    def __init__(
        self,
        path: Path,
        settle: Callable[[Sequence[Outcome]], object],
        report: Callable[[bool], object],
        on_end: Callable[[], object],
    ) -> None:
        self.queue = WorkQueue()
        self.problem = "it is not open yet"
        """Why nothing can be written; empty if it can."""
        self.is_readable = False
        """Whether what is there may be read, even if nothing can be written."""
        self.errors = 0
        self.is_suspect = False
        """Whether a reader has found damage."""
        self.database = Database(path)
        self._settle = settle
        self._report = report
        self._on_end = on_end
        self._busy_since: float | None = None
        self._retries = 0
        self._is_other = False

    def start(self) -> None:
        """Start the thread; raises `RuntimeError` if there cannot be one more."""
        threading.Thread(target=self._run, name="store-writer", daemon=True).start()

    @property
    def is_stalled(self) -> bool:
        """Whether the disk does not answer."""
        since = self._busy_since
        return since is not None and time.monotonic() - since > STALL_SECONDS

    # -- in the thread

    def _run(self) -> None:
        self._write_safely([])
        while not self.queue.is_ended:
            if self.problem:
                self.queue.wait_closed(RETRY_SECONDS[min(self._retries, len(RETRY_SECONDS)) - 1])
                if self.queue.is_closed:
                    break
                items = self.queue.take(0)
            else:
                items = self.queue.take(IDLE_SECONDS)
            self._write_safely(items)
        self.database.release()
        self._on_end()

    def _write_safely(self, items: list[Item]) -> None:
        self._busy_since = time.monotonic()
        try:
            self._write(items)
        except Exception as error:
            if not self.problem:
                logger.exception("cannot write to the store")
            self._become_unavailable(_Defect())
            self._settle([Outcome(item, None, error) for item in items])
        was_stalled, self._busy_since = self.is_stalled, None
        if was_stalled:
            self._report(False)

    def _write(self, items: list[Item]) -> None:
        """Write some work, having opened the database if that is due; what fails because of the disk is kept."""
        # a commit checks by itself whether it reaches the file
        is_current = self.database.is_open if items else self.database.is_current()
        is_open = (is_current and not self.is_suspect) or self._open()
        attempts = 0
        while is_open:
            attempts += 1
            try:
                outcomes = self._commit(items)
            except _Moved as error:
                if attempts < _MOST_ATTEMPTS:
                    is_open = self._open()
                else:
                    self._become_unavailable(error)
                    is_open = False
            except sqlite3.Error as error:
                self.errors += 1
                if not is_of_disk(error):
                    self._fail(items, error)
                    return
                if is_broken(error) and attempts < _MOST_ATTEMPTS:
                    # opening it finds the damage; if it does not, it is there nevertheless
                    is_open = self._open(is_suspect=True, is_condemned=attempts > 1)
                else:
                    self._become_unavailable(error)
                    is_open = False
            else:
                self._become_available()
                if outcomes:  # each settling wakes the event loop, and there is a look every second
                    self._settle(outcomes)
                return
        self._keep(items)

    def _open(self, *, is_suspect: bool = False, is_condemned: bool = False) -> bool:
        """Open the database, or become unavailable; returns whether it is open."""
        try:
            is_other = self.database.open(is_suspect=is_suspect or self.is_suspect, is_condemned=is_condemned)
        except _FAILURES as error:
            self._become_unavailable(error)
            return False
        self.is_suspect = False
        self.is_readable = True
        self._is_other |= is_other
        return True

    def _become_available(self) -> None:
        """Called when what was kept is written, too: a full disk often has room for a little."""
        was_unavailable, self.problem = bool(self.problem), ""
        is_other, self._is_other = self._is_other, False
        self._retries = 0
        if was_unavailable or is_other:
            self._report(is_other)

    def _become_unavailable(self, error: BaseException) -> None:
        self.database.close()
        self.is_readable = not isinstance(error, (NewerSchema, UnsafeFolder, FolderInUse))
        self.problem = describe(error)
        self._retries += 1
        self._report(False)

    def _commit(self, items: Sequence[Item]) -> list[Outcome]:
        """Write all in one transaction.

        Raises:
            sqlite3.Error: none of it is written.
            _Moved: likewise.
        """
        if not items:
            return []
        connection = self.database.connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            is_alone = len(items) == 1
            # one may be abandoned while those before it are done
            outcomes = [_do(item, connection, is_alone=is_alone) for item in items if not item.is_abandoned]
            if not self.database.receives_commits():
                raise _Moved  # noqa: TRY301 - as an error of the commit
            connection.execute("COMMIT")
            self.database.note_commit()
        except BaseException:
            with suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            raise
        return outcomes

    def _fail(self, items: Sequence[Item], error: Exception) -> None:
        """Drop work that has broken the transaction, which is a defect of it."""
        logger.error("cannot write to the store: %s", error)
        self.database.close()
        self._settle([Outcome(item, None, error) for item in items])

    def _keep(self, items: Sequence[Item]) -> None:
        """Keep what was posted, and fail the rest."""
        self.queue.put_back([item for item in items if item.future is None])
        why = f"it cannot be remembered now: {self.problem}"
        self._settle([Outcome(item, None, StoreUnavailable(why)) for item in items if item.future is not None])


def _do(item: Item, connection: sqlite3.Connection, *, is_alone: bool) -> Outcome:
    """Do some work, or undo it if it fails by itself; raises `sqlite3.Error` if the disk fails.

    Args:
        is_alone: nothing else is in the transaction.
    """
    if not is_alone:
        connection.execute("SAVEPOINT work")
    outcome: Outcome
    try:
        outcome = Outcome(item, item.work(connection), None)
    except Exception as error:
        if is_of_disk(error):
            raise
        if is_alone:
            connection.execute("ROLLBACK")
            connection.execute("BEGIN")
        else:
            connection.execute("ROLLBACK TO work")
        if item.future is None:
            logger.exception("cannot write something to the store")
        outcome = Outcome(item, None, error)
    if not is_alone:
        connection.execute("RELEASE work")
    return outcome
