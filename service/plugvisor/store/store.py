"""The store: one SQLite database, written by one thread.

What is written together becomes one transaction. Nothing here raises because the disk is full, read-only or gone, or
the file is broken: the store is then unavailable, says why, and becomes available again by itself.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from plugvisor.errors import StoreUnavailable
from plugvisor.store.failures import describe, is_broken
from plugvisor.store.folder import FILE_NAME
from plugvisor.store.reader import Readers
from plugvisor.store.schema import NewerSchema
from plugvisor.store.work_queue import Item
from plugvisor.store.writer import STALL_SECONDS, Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from plugvisor.store.writer import Outcome

T = TypeVar("T")

logger = logging.getLogger(__name__)

WRITE_SECONDS = 1.0
READ_SECONDS = 5.0
END_SECONDS = 2.0
"""How long the disk may take: for one who waits for a write or a read; and at the beginning and the end."""


class Store:
    """Writes and reads from `open` to `close`.

    Args:
        folder: holds the database; it is made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self.on_replaced: list[Callable[[], object]] = []
        """Called on the event loop when another database, mostly an empty one, has taken the place of the one before.

        What is held in memory must be written again.
        """
        self.on_change: list[Callable[[], object]] = []
        """Called on the event loop when the store has become available or unavailable."""
        self._writer = Writer(self.path, self._settle_in_thread, self._report_in_thread, self._end_in_thread)
        self._readers = Readers(self.path, self._answer_in_thread)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._problem = "it is not open"
        self._reported = ""
        self._tried = asyncio.Event()
        self._ended = asyncio.Event()

    @property
    def problem(self) -> str:
        """Why nothing can be remembered, for a person; empty if it can."""
        if self._writer.is_stalled:
            return "the disk does not answer"
        return self._problem

    @property
    def is_available(self) -> bool:
        """Whether writes are stored now."""
        return not self.problem

    @property
    def set_aside(self) -> str:
        """The name of the broken file that was set aside last, since the service began; empty if none was."""
        return self._writer.database.set_aside

    @property
    def errors(self) -> int:
        """How many transactions have failed."""
        return self._writer.errors

    @property
    def dropped(self) -> int:
        """How much posted work was dropped, because too much of it could not be written."""
        return self._writer.queue.dropped

    @property
    def size_bytes(self) -> int:
        """The size of the database and its write-ahead log, a second ago."""
        return self._writer.database.size_bytes

    async def open(self) -> None:
        """Open the database; nothing is raised. A disk that does not answer is not waited for."""
        self._loop = asyncio.get_running_loop()
        try:
            self._writer.start()
            self._readers.start()
        except RuntimeError:
            self._take_report("no thread can be started", is_other=False)
            return
        try:
            async with asyncio.timeout(END_SECONDS):
                await self._tried.wait()
        except TimeoutError:
            self._report()

    async def close(self) -> None:
        """Write what is left, and close the database."""
        if self._loop is None:
            return
        self._writer.queue.close()
        self._readers.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await self._ended.wait()
        self._problem = "it is closed"

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do some work on the writer's connection; return when it is on the disk.

        The work shares its transaction with others, so it neither commits nor rolls back; if it raises, only what it
        has written itself is undone, and its error is raised here.

        Raises:
            StoreUnavailable: nothing was written; if the disk does not answer, it may be yet.
        """
        if self.problem:
            raise StoreUnavailable(f"it cannot be remembered now: {self.problem}")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        item = Item(work, future)
        self._writer.queue.put(item)
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                return await future
        except TimeoutError:
            item.is_abandoned = True
            self._report()
            # the thread may have begun with it a little later: it is stalled a little later, too
            asyncio.get_running_loop().call_later(STALL_SECONDS, self._report)
            raise StoreUnavailable("it cannot be remembered now: the disk does not answer") from None

    def post(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Have some work done soon.

        It is kept while the store is unavailable, up to a bound.
        """
        self._writer.queue.put(Item(work, None))

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Ask a question on a connection that only reads; raises `StoreUnavailable`.

        It works on a full or read-only disk.
        """
        if self._loop is None or not self._writer.is_readable:
            raise StoreUnavailable(f"what is remembered cannot be read now: {self.problem}")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._readers.ask(future, query)
        try:
            async with asyncio.timeout(READ_SECONDS):
                return await future
        except TimeoutError:
            raise StoreUnavailable("what is remembered cannot be read now: the disk does not answer") from None
        except (OSError, sqlite3.Error, NewerSchema) as error:
            raise StoreUnavailable(f"what is remembered cannot be read now: {describe(error)}") from error
        except Exception as error:
            # most likely a value that a failing disk has changed: the service must start all the same
            logger.exception("cannot understand what is remembered")
            raise StoreUnavailable("what is remembered cannot be read: it makes no sense") from error

    # -- on the event loop

    def _report(self, *, is_other: bool = False) -> None:
        """Call back if another database is in use, or the store has become available or unavailable."""
        reported, self._reported = self._reported, self.problem
        if self._reported and self._reported != reported:
            logger.error("nothing can be remembered: %s", self._reported)
        elif reported and not self._reported:
            logger.info("what happens is remembered again")
        if is_other:
            _call(self.on_replaced)
        if bool(reported) != bool(self._reported):
            _call(self.on_change)

    # -- in threads

    def _report_in_thread(self, is_other: bool) -> None:
        self._call_soon(partial(self._take_report, self._writer.problem, is_other=is_other))

    def _take_report(self, problem: str, *, is_other: bool) -> None:
        self._problem = problem
        self._tried.set()
        self._report(is_other=is_other)

    def _end_in_thread(self) -> None:
        self._call_soon(self._ended.set)

    def _settle_in_thread(self, outcomes: Sequence[Outcome]) -> None:
        settled = [(outcome.item.future, outcome.value, outcome.error) for outcome in outcomes]
        self._call_soon(partial(_settle, settled))

    def _answer_in_thread(self, future: asyncio.Future[Any], answer: Any, error: Exception | None) -> None:
        if error is not None and is_broken(error):
            self._writer.is_suspect = True
        self._call_soon(partial(_settle, [(future, answer, error)]))

    def _call_soon(self, function: Callable[[], object]) -> None:
        assert self._loop is not None
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(function)


def _settle(settled: Sequence[tuple[asyncio.Future[Any] | None, Any, Exception | None]]) -> None:
    for future, value, error in settled:
        if future is None or future.done():
            continue
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)


def _call(callbacks: Sequence[Callable[[], object]]) -> None:
    for callback in callbacks:
        try:
            callback()
        except Exception:
            logger.exception("a callback of the store has failed")
