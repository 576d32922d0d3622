"""The operations of installation: those under way and those that have ended, kept in memory and stored."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from plugvisor.errors import OperationCancelled, OperationInterrupted, OperationNotFound, StoreUnavailable
from plugvisor.manager.installation.live_operation import LiveOperation, make_body
from plugvisor.models.installation.operation import OperationLog
from plugvisor.store.tables import operations as stored

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plugvisor.models.installation.operation import Operation, OperationState, OperationSummary, Verb
    from plugvisor.models.problem import Problem
    from plugvisor.store.store import Store

    MakeProblem = Callable[[Exception, str | None], Problem]

logger = logging.getLogger(__name__)

ANNOUNCE_SECONDS = 0.25
"""How often a change of one operation is announced, at most; its end is announced at once."""
RETRY_SECONDS = 1.0
"""The pause before a read or write that has failed is repeated."""
MOST_OLD_CHARACTERS = 4 * 1024 * 1024
"""Of the logs of all operations that have ended; beyond it only the last lines of the older ones are kept."""
OLD_LINES = 20


class Registry:
    """Every operation that is kept, from memory; the store has each before it is answered, and when it has ended.

    Args:
        make_problem: makes the problem of an error, about a plugin if its id is given.
    """

    def __init__(self, store: Store, make_problem: MakeProblem) -> None:
        self.on_change: list[Callable[[str], object]] = []
        """Called with the id of an operation that has changed: at most four times a second for each, and at its end."""
        self.on_interrupted: list[Callable[[LiveOperation], object]] = []
        """Called with each operation that an earlier run of the service has not ended."""
        self.ended: Counter[tuple[str, str]] = Counter()
        """How many operations have ended since the service began, by verb and state."""
        self._store = store
        self._make_problem = make_problem
        self._operations: dict[str, LiveOperation] = {}
        """The newest is the last."""
        self._pauses: dict[str, asyncio.TimerHandle] = {}
        """By operation, what ends the time in which it is not announced again."""
        self._changed: set[str] = set()
        """The operations that have changed in that time."""
        self._beginning: set[str] = set()
        """The operations that are being stored for the first time."""
        self._unsaved: set[str] = set()
        self._saving: asyncio.Task[None] | None = None
        self._loading: asyncio.Task[None] | None = None

    async def load(self) -> None:
        """Read what the store has; those that had not ended are interrupted. Nothing is raised."""
        self._store.on_replaced.append(self._on_replaced)
        if not await self._load():
            self._loading = asyncio.create_task(self._load_later())

    async def close(self) -> None:
        """Try once more to store what could not be."""
        for task in (self._loading, self._saving):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        for pause in self._pauses.values():
            pause.cancel()
        await self._save()

    # -- reading

    def list_all(self) -> Sequence[Operation]:
        """Every operation, the newest first."""
        return [operation.describe() for operation in reversed(self._operations.values())]

    def get(self, operation_id: str) -> OperationLog:
        """An operation with its log; raises `OperationNotFound`."""
        return self.find(operation_id).describe_with_log()

    def summarise(self, operation_id: str) -> OperationSummary:
        """The part of an operation that every reader may see; raises `OperationNotFound`."""
        return self.find(operation_id).summarise()

    def find(self, operation_id: str) -> LiveOperation:
        """An operation as it goes on; raises `OperationNotFound`."""
        try:
            return self._operations[operation_id]
        except KeyError:
            raise OperationNotFound(
                f"there is no operation {operation_id[:64]!r}, or it is no longer kept; GET /operations lists them"
            ) from None

    # -- changing

    async def begin(self, verb: Verb, by: str, **fields: str) -> LiveOperation:
        """Begin an operation; when this returns, it is stored.

        Args:
            fields: of `Operation`; an empty one is left out.

        Raises:
            StoreUnavailable: there is no such operation.
        """
        now = time.time()
        body = make_body(secrets.token_hex(8), verb, by, now, fields.items())
        operation = LiveOperation(body, now, self._on_operation)
        self._beginning.add(operation.id)
        try:
            await self._store.write(partial(stored.save, operations=[operation.freeze()]))
            self._operations[operation.id] = operation
        finally:
            self._beginning.discard(operation.id)
        self._forget_oldest()
        self._announce(operation)
        return operation

    def succeed(self, operation: LiveOperation) -> None:
        """An operation has succeeded; that is stored soon."""
        operation.end("succeeded")
        self._finish(operation)

    def fail(self, operation: LiveOperation, error: Exception) -> Problem:
        """An operation has failed, was cancelled or interrupted; returns the problem."""
        problem = self._make_problem(error, operation.plugin_id or None)
        state: OperationState = "failed"
        if isinstance(error, OperationCancelled):
            state = "cancelled"
        elif isinstance(error, OperationInterrupted):
            state = "interrupted"
        operation.end(state, problem, error)
        self._finish(operation)
        return problem

    def save_later(self, operation: LiveOperation) -> None:
        """Store an operation as it is now, as soon as the store takes it; nothing is raised."""
        self._unsaved.add(operation.id)
        if self._saving is None or self._saving.done():
            self._saving = asyncio.create_task(self._keep_saving())

    async def wait_saved(self) -> None:
        """Wait until what has happened is stored, or could not be at the first try."""
        if self._saving is not None:
            await asyncio.wait((self._saving,), timeout=RETRY_SECONDS)

    # -- announcing

    def _on_operation(self, operation: LiveOperation, must_last: bool) -> None:
        if operation.id in self._operations:
            self._announce(operation)
            if must_last:
                self.save_later(operation)

    def _announce(self, operation: LiveOperation) -> None:
        """Announce a change: now, or if that was done a moment ago, in a moment."""
        if not operation.is_running:
            self._changed.discard(operation.id)
            if timer := self._pauses.pop(operation.id, None):
                timer.cancel()
            self._call(operation.id)
        elif operation.id in self._pauses:
            self._changed.add(operation.id)
        else:
            resume = partial(self._end_pause, operation)
            self._pauses[operation.id] = asyncio.get_running_loop().call_later(ANNOUNCE_SECONDS, resume)
            self._call(operation.id)

    def _end_pause(self, operation: LiveOperation) -> None:
        del self._pauses[operation.id]
        if operation.id in self._changed:
            self._changed.discard(operation.id)
            self._announce(operation)

    def _call(self, operation_id: str) -> None:
        for callback in self.on_change:
            try:
                callback(operation_id)
            except Exception:
                logger.exception("a callback of the operations has failed")

    # -- keeping few

    def _forget_oldest(self) -> None:
        """Keep as many operations, and as much of their logs, as the store and the memory are meant for."""
        beyond = len(self._operations) - stored.MOST_KEPT
        for operation in [each for each in self._operations.values() if not each.is_running][: max(0, beyond)]:
            del self._operations[operation.id]
        size = 0
        for operation in reversed(self._operations.values()):
            if operation.is_running:
                continue
            size += operation.characters
            if size > MOST_OLD_CHARACTERS:
                operation.cut_log(OLD_LINES)

    # -- the store

    async def _load(self) -> bool:
        """Read what is stored; returns whether that has succeeded."""
        try:
            rows = await self._store.read(stored.load)
        except StoreUnavailable as error:
            logger.warning("it is not known which operations there were: %s", error)
            return False
        rows = [row for row in rows if row.id not in self._beginning]
        known = [operation for row in rows if (operation := self._thaw(row)) is not None]
        newer = self._operations
        self._operations = {each.id: each for each in reversed(known) if each.id not in newer} | newer
        for operation in known:
            if operation.is_running and operation.id not in newer:
                self._interrupt(operation)
        self._forget_oldest()
        return True

    async def _load_later(self) -> None:
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            if self._store.is_available and await self._load():
                return

    def _thaw(self, row: stored.StoredOperation) -> LiveOperation | None:
        try:
            body = msgspec.json.decode(row.body, type=OperationLog)
        except (msgspec.DecodeError, UnicodeDecodeError):
            logger.warning("an operation that is stored cannot be understood: %r", row.id)
            return None
        return LiveOperation(body, row.begun_at, self._on_operation)

    def _interrupt(self, operation: LiveOperation) -> None:
        self.fail(operation, OperationInterrupted("the service ended before the operation did"))
        for callback in self.on_interrupted:
            callback(operation)

    def _finish(self, operation: LiveOperation) -> None:
        self.ended[operation.verb, operation.state] += 1
        self._forget_oldest()
        self.save_later(operation)

    async def _keep_saving(self) -> None:
        while not await self._save():  # noqa: ASYNC110 - the disk announces nothing
            await asyncio.sleep(RETRY_SECONDS)

    async def _save(self) -> bool:
        """Store what is not stored yet; returns whether nothing is left."""
        while self._unsaved:
            ids, self._unsaved = self._unsaved, set()
            rows = [self._operations[name].freeze() for name in ids if name in self._operations]
            try:
                await self._store.write(partial(stored.save, operations=rows))
            except BaseException as error:
                self._unsaved |= ids
                if isinstance(error, StoreUnavailable):
                    return False
                raise
        return True

    def _on_replaced(self) -> None:
        """Store everything: the database is a new one."""
        for operation in self._operations.values():
            self.save_later(operation)
