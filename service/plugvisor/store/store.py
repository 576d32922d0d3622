"""The store: one SQLite database, written by one thread.

What is written together becomes one transaction. Nothing here raises because the disk is full, read-only or gone:
the store is then unavailable, says why, and becomes available again by itself.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from plugvisor.errors import StoreUnavailable
from plugvisor.store.schema import NewerSchema, open_database

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")
Work = "Callable[[sqlite3.Connection], T]"

logger = logging.getLogger(__name__)

FILE_NAME = "plugvisor.db"
FLUSH_SECONDS = 0.1
"""How long what nobody waits for may wait for a transaction."""
RETRY_SECONDS = 1.0
"""How often an unavailable store is tried again."""


@dataclass(frozen=True)
class _Item:
    work: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any] | None
    """Of whoever waits; None if nobody does."""


class Store:
    """Writes and reads from `open` to `close`.

    Args:
        folder: holds the database; it is made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self.problem = "the store is not open"
        """Why nothing can be remembered, for a person; empty if it can."""
        self.set_aside = ""
        """The name of a broken file that was set aside since the service began."""
        self.errors = 0
        """How often a transaction has failed."""
        self.on_replaced: list[Callable[[], object]] = []
        """Called on the event loop when a new, empty database has taken the place of the one before."""
        self.on_change: list[Callable[[], object]] = []
        """Called on the event loop when the store has become available or unavailable."""
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._connection: sqlite3.Connection | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._readers: ThreadPoolExecutor | None = None
        self._local = threading.local()

    @property
    def is_available(self) -> bool:
        """Whether what is written now is remembered."""
        return not self.problem

    async def open(self) -> None:
        """Open the database; nothing is raised."""
        self._loop = asyncio.get_running_loop()
        self._readers = ThreadPoolExecutor(2, "store-reader")
        await asyncio.to_thread(self._connect)
        self._thread = threading.Thread(target=self._write_all, name="store-writer", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Write what is left, and close the database."""
        if self._thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join, 5.0)
        if self._readers is not None:
            self._readers.shutdown(wait=False)

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do some work on the writer's connection; return when it is on the disk.

        Raises:
            StoreUnavailable: nothing was written.
        """
        if self._thread is None or self.problem:
            raise StoreUnavailable(f"nothing can be remembered now: {self.problem}")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.put(_Item(work, future))
        return await future

    def post(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Have some work done soon, at most `FLUSH_SECONDS` later; it is dropped if the store is unavailable."""
        if self._thread is not None and not self.problem:
            self._queue.put(_Item(work, None))

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Ask a question on a connection that only reads; raises `StoreUnavailable`."""
        if self._readers is None or self.problem:
            raise StoreUnavailable(f"what is remembered cannot be read now: {self.problem}")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, self._query, query)
        except sqlite3.Error as error:
            raise StoreUnavailable("what is remembered cannot be read now") from error

    # -- in threads

    def _query(self, query: Callable[[sqlite3.Connection], T]) -> T:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)
        return query(connection)

    def _connect(self) -> None:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._connection = open_database(self.path)
        except (OSError, sqlite3.Error, NewerSchema) as error:
            self.problem = f"the database cannot be used: {error}"
            logger.error("%s", self.problem)
        else:
            self.problem = ""

    def _write_all(self) -> None:
        while (item := self._queue.get()) is not None:
            batch, is_last = self._collect(item)
            self._commit(batch)
            if is_last:
                break
        if self._connection is not None:
            self._connection.close()

    def _collect(self, first: _Item) -> tuple[list[_Item], bool]:
        """Everything that belongs in the transaction, and whether it is the last one."""
        batch = [first]
        deadline = time.monotonic() + FLUSH_SECONDS
        while True:
            is_awaited = any(item.future is not None for item in batch[-1:])
            try:
                seconds_left = deadline - time.monotonic()
                if is_awaited or seconds_left <= 0:
                    deadline = 0.0
                    item = self._queue.get_nowait()
                else:
                    item = self._queue.get(timeout=seconds_left)
            except queue.Empty:
                return batch, False
            if item is None:
                return batch, True
            batch.append(item)

    def _commit(self, batch: list[_Item]) -> None:
        assert self._loop is not None
        results: list[Any] = []
        failure: Exception | None = None
        try:
            assert self._connection is not None
            self._connection.execute("BEGIN IMMEDIATE")
            results = [item.work(self._connection) for item in batch]
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - of whatever kind: whoever waits must be told
            self.errors += 1
            failure = error
            if self._connection is not None and self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            logger.error("cannot write to the store: %s", error)
        awaited = [(item.future, result) for item, result in zip(batch, results or [None] * len(batch), strict=False)]
        self._loop.call_soon_threadsafe(_settle, awaited, failure)


def _settle(awaited: list[tuple[asyncio.Future[Any] | None, Any]], failure: Exception | None) -> None:
    for future, result in awaited:
        if future is None or future.done():
            continue
        if failure is None:
            future.set_result(result)
        else:
            error = StoreUnavailable("it cannot be remembered now")
            error.__cause__ = failure
            future.set_exception(error)
