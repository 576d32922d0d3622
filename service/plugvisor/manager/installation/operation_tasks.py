"""Runs each operation in a task of its own; it is stored before and after, and noted in the journal."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from msgspec import UNSET

from plugvisor.errors import (
    NotCancellable,
    OperationCancelled,
    OperationInterrupted,
    PlugvisorError,
    TooManyOperations,
)
from plugvisor.models.stored.journal import Facts, NewEntry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from plugvisor.manager.installation.live_operation import LiveOperation
    from plugvisor.manager.installation.registry import Registry
    from plugvisor.manager.journal.recorder import Recorder
    from plugvisor.models.installation.operation import Operation, Verb

    Work = Callable[[LiveOperation], Coroutine[None, None, None]]

logger = logging.getLogger(__name__)

MOST_UNFINISHED = 32
"""How many operations may be under way or waiting."""
CLOSE_SECONDS = 5.0
"""How long `close` waits for what must not be cancelled; after that the next start recovers from it."""
_WORDS = {"install": "install", "update": "update", "rollback": "roll back", "uninstall": "uninstall"}
_INTERRUPTED = "the service ended before the operation did"


class UnderWay:
    """An operation that has begun and is stored."""

    def __init__(self, operation: LiveOperation) -> None:
        self.operation_id = operation.id
        self._operation = operation

    async def wait(self, seconds: float | None) -> Operation | None:
        """Wait until it has ended, or the time is over; a caller that goes away cancels nothing.

        Returns:
            None if it goes on.

        Raises:
            PlugvisorError: why it has failed.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._operation.settled.wait()
        except TimeoutError:
            return None
        if self._operation.error is not None:
            raise self._operation.error.with_traceback(None)
        return self._operation.describe()


class OperationTasks:
    """The operations that are under way.

    Args:
        check_ready: raises a `PlugvisorError` if nothing can be begun now.
    """

    def __init__(self, registry: Registry, recorder: Recorder, check_ready: Callable[[], Awaitable[None]]) -> None:
        self._registry = registry
        self._recorder = recorder
        self._check_ready = check_ready
        self._tasks: dict[str, asyncio.Task[None]] = {}
        """By operation id."""
        self._accepted = 0
        """How many operations have not ended, those that are being stored included."""
        self._is_closing = False
        registry.on_interrupted.append(lambda operation: self._note(operation, "interrupted", _INTERRUPTED))

    async def close(self) -> None:
        """Cancel what can be cancelled, and wait up to `CLOSE_SECONDS` for the rest."""
        self._is_closing = True
        for operation_id, task in self._tasks.items():
            operation = self._registry.find(operation_id)
            if not (operation.is_final or operation.is_cancelled):
                task.cancel()
        tasks = list(self._tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def begin(
        self, verb: Verb, by: str, work: Work, on_end: Callable[[], object] = bool, **fields: str
    ) -> UnderWay:
        """Store an operation and begin it; a client that disconnects meanwhile does not cancel it.

        Args:
            work: does it; it raises why it has failed.
            on_end: called when it has ended, and if this raises.
            fields: of `Operation`.

        Raises:
            TooManyOperations, OperationInterrupted, StoreUnavailable, and what `check_ready` raises.
        """
        beginning = asyncio.create_task(self._begin(verb, by, work, on_end, fields))
        beginning.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(beginning)

    async def cancel(self, operation: LiveOperation) -> None:
        """Cancel an operation; returns when nothing of it is left. Raises `NotCancellable`."""
        if not operation.is_running:
            raise NotCancellable("the operation has ended already")
        if operation.is_final or operation.id not in self._tasks:
            raise NotCancellable("the operation has gone too far to be cancelled; it will end soon")
        if not operation.is_cancelled:  # another cancellation would interrupt the first one's cleaning up
            operation.is_cancelled = True
            self._tasks[operation.id].cancel()
        await operation.settled.wait()

    # -- parts

    def _check_open(self) -> None:
        if self._accepted > MOST_UNFINISHED:
            raise TooManyOperations(f"{MOST_UNFINISHED} operations are under way; try again when one has ended")
        if self._is_closing:
            raise OperationInterrupted("the service is about to end")

    async def _begin(
        self, verb: Verb, by: str, work: Work, on_end: Callable[[], object], fields: dict[str, str]
    ) -> UnderWay:
        self._accepted += 1
        try:
            self._check_open()
            await self._check_ready()
            operation = await self._registry.begin(verb, by, **fields)
        except BaseException:
            self._accepted -= 1
            on_end()
            raise
        self._tasks[operation.id] = asyncio.create_task(self._run(operation, work, on_end))
        await asyncio.sleep(0)  # a task that is cancelled before it has begun does not see that
        return UnderWay(operation)

    async def _run(self, operation: LiveOperation, work: Work, on_end: Callable[[], object]) -> None:
        error: Exception | None = None
        try:
            await work(operation)
        except asyncio.CancelledError:
            is_cancelled = operation.is_cancelled
            error = OperationCancelled("it was cancelled") if is_cancelled else OperationInterrupted(_INTERRUPTED)
        except PlugvisorError as failure:
            error = failure
        except Exception as failure:
            logger.exception("an operation has failed: %s of %r", operation.verb, operation.plugin_id)
            error = failure
        try:
            on_end()
            self._end(operation, error)
            await self._registry.wait_saved()
        finally:
            self._accepted -= 1
            del self._tasks[operation.id]
            operation.settled.set()

    def _end(self, operation: LiveOperation, error: Exception | None) -> None:
        if error is None:
            self._registry.succeed(operation)
            self._note(operation, "ok", "")
            return
        if isinstance(error, PlugvisorError):
            name_error(error, operation.verb, operation.plugin_id)
        problem = self._registry.fail(operation, error)
        self._note(operation, problem.code, problem.detail)

    def _note(self, operation: LiveOperation, code: str, detail: str) -> None:
        """Note the outcome of an operation in the journal."""
        facts = Facts(
            identity=operation.by or UNSET,
            verb=operation.verb,
            outcome=code,
            subject=operation.describe().version,
            milliseconds=operation.milliseconds,
            detail=detail or UNSET,
        )
        self._recorder.note(NewEntry("installation", facts, operation.plugin_id))


def name_error(error: PlugvisorError, verb: str, plugin_id: str) -> None:
    """Begin the text of an error with what could not be done, unless it does."""
    text = str(error)
    if not text.startswith("cannot "):
        what = repr(plugin_id) if plugin_id else "the package"
        error.args = (f"cannot {_WORDS[verb]} {what}: {text}",)
