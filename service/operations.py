"""Operations on plugins: one after another for one plugin, side by side for different ones.

An operation belongs to the server, not to the connection: each runs in a task of its own, and a
client that goes away cancels nothing.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, TypeVar

from service.errors import PlugvisorError, SupervisorUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


class Operations:
    """What is under way."""

    def __init__(self) -> None:
        self._turns: dict[str, asyncio.Lock] = {}
        self._unavailable: dict[str, tuple[float, SupervisorUnavailable]] = {}
        self._tasks: set[asyncio.Task[object]] = set()

    async def run(
        self,
        verb: str,
        plugin_id: str,
        operation: Callable[[asyncio.Event], Coroutine[None, None, Result]],
        wait_seconds: float | None = None,
    ) -> Result | None:
        """Run an operation when it is the plugin's turn.

        Args:
            operation: sets the event it is given when it can no longer be refused.
            wait_seconds: wait no longer than this after that; None: until it has ended.

        Returns:
            its result; None where it goes on.

        Raises:
            PlugvisorError: what the operation raised, its text begun with "cannot <verb> '<plugin>': ".
        """
        accepted = asyncio.Event()
        task = asyncio.create_task(self._take_turn(verb, plugin_id, operation(accepted)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if wait_seconds is None:
            return await asyncio.shield(task)
        acceptance = asyncio.create_task(accepted.wait())
        await asyncio.wait((task, acceptance), return_when=asyncio.FIRST_COMPLETED)
        acceptance.cancel()
        await asyncio.wait((task,), timeout=wait_seconds)
        if task.done():
            return task.result()
        task.add_done_callback(_log_failure)  # nobody waits for it any more
        return None

    async def close(self) -> None:
        """Wait for what is under way; each operation ends within its own deadline."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _take_turn(self, verb: str, plugin_id: str, operation: Coroutine[None, None, Result]) -> Result:
        turn = self._turns.setdefault(plugin_id, asyncio.Lock())
        came_at = asyncio.get_running_loop().time()
        async with turn:
            failed_at, failure = self._unavailable.get(plugin_id, (-math.inf, None))
            try:
                if failure is not None and failed_at >= came_at:
                    # who waited behind it would wait as long again, and find the same
                    operation.close()
                    raise SupervisorUnavailable(failure.args[0].partition(": ")[2])
                return await operation
            except PlugvisorError as error:
                if isinstance(error, SupervisorUnavailable):
                    self._unavailable[plugin_id] = asyncio.get_running_loop().time(), error
                error.args = (f"cannot {verb} {plugin_id!r}: {error}",)
                raise


def _log_failure(task: asyncio.Task[Result]) -> None:
    if not task.cancelled() and (error := task.exception()):
        logger.warning("after its request was answered: %s", error)
