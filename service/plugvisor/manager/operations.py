"""Operations on plugins: one after another for one plugin, side by side for different ones.

An operation belongs to the server, not to the connection: each runs in a task of its own, and a
client that goes away cancels nothing.
"""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from plugvisor.errors import PlugvisorError, SupervisorUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 10.0


@dataclass(frozen=True)
class _UnderWay:
    verb: str
    task: asyncio.Task[Any]
    accepted: asyncio.Event
    is_shared: bool

    async def wait(self, seconds: float | None) -> Any:
        try:
            if seconds is None:
                return await asyncio.shield(self.task)
            await self._wait_accepted()
            await asyncio.wait((self.task,), timeout=seconds)
            return self.task.result() if self.task.done() else None
        finally:
            if not self.task.done():
                self.task.add_done_callback(log_failure)  # its request was answered, or its client has gone

    async def _wait_accepted(self) -> None:
        acceptance = asyncio.create_task(self.accepted.wait())
        try:
            await asyncio.wait((self.task, acceptance), return_when=asyncio.FIRST_COMPLETED)
        finally:
            acceptance.cancel()


class Operations:
    """The operations that are under way."""

    def __init__(self) -> None:
        self._turns: dict[str, asyncio.Lock] = {}
        self._unavailable: dict[str, tuple[float, str]] = {}  # when it was last so for a plugin, and why
        self._tasks: set[asyncio.Task[object]] = set()
        # the operation of each plugin that was asked for last, while it has not ended
        self._last: dict[str, _UnderWay] = {}

    async def run(
        self,
        verb: str,
        plugin_id: str,
        operation: Callable[[asyncio.Event], Coroutine[None, None, Any]],
        wait_seconds: float | None = None,
        *,
        is_shared: bool = False,
    ) -> Any:
        """Run an operation in the plugin's turn.

        Args:
            operation: sets the event it is given when it can no longer be rejected.
            wait_seconds: wait at most this long after that; None: until it has ended.
            is_shared: who asks for the same while it is under way shares it: a second click on the button succeeds as
                the first does, if nothing else was asked for in between.

        Returns:
            its result; None if it goes on.

        Raises:
            PlugvisorError: what the operation raised, its text begun with "cannot <verb> '<plugin>': ".
        """
        under_way = self._last.get(plugin_id)
        if under_way is None or under_way.verb != verb or not under_way.is_shared:
            accepted = asyncio.Event()
            task = asyncio.create_task(self._take_turn(verb, plugin_id, operation(accepted)))
            under_way = self._last[plugin_id] = _UnderWay(verb, task, accepted, is_shared)
            self._tasks.add(task)
            task.add_done_callback(partial(self._forget, plugin_id))
        return await under_way.wait(wait_seconds)

    async def run_detached(self, operation: Coroutine[None, None, T]) -> T:
        """Run what concerns many plugins; a client that goes away does not cancel it, and `close` waits for it."""
        task = asyncio.create_task(operation)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Have `close` wait for a task that consists of operations."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def name_errors(self, verb: str, plugin_id: str, operation: Coroutine[None, None, T]) -> T:
        """Await something outside the plugin's turn; an error says which plugin could not be changed, and how."""
        try:
            return await operation
        except PlugvisorError as error:
            error.args = (f"cannot {verb} {plugin_id!r}: {error}",)
            raise

    async def close(self) -> None:
        """Wait for what is under way, but not for a plugin that does not want to end: the engine sees to that."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)

    def _forget(self, plugin_id: str, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if plugin_id in self._last and self._last[plugin_id].task is task:
            del self._last[plugin_id]

    async def _take_turn(self, verb: str, plugin_id: str, operation: Coroutine[None, None, Any]) -> Any:
        turn = self._turns.setdefault(plugin_id, asyncio.Lock())
        came_at = asyncio.get_running_loop().time()
        async with turn:
            failed_at, reason = self._unavailable.get(plugin_id, (-math.inf, ""))
            try:
                if failed_at >= came_at:
                    # it waited behind the one that failed: it would wait as long again, and find the same
                    operation.close()
                    raise SupervisorUnavailable(reason)
                return await operation
            except PlugvisorError as error:
                if isinstance(error, SupervisorUnavailable):
                    self._unavailable[plugin_id] = asyncio.get_running_loop().time(), str(error)
                error.args = (f"cannot {verb} {plugin_id!r}: {error}",)
                raise


def do_nothing() -> None:
    """Do nothing: the default of callbacks."""


def log_failure(task: asyncio.Task[Any]) -> None:
    """Log the failure of an operation that nobody waits for any more."""
    if not task.cancelled() and (error := task.exception()):
        logger.warning("an operation that was no longer waited for has failed: %s", error)
