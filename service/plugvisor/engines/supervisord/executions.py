"""The commands of checks that supervisord runs for this service, until their ends are reported."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from typing import TYPE_CHECKING

from plugvisor.engines.engine import Execution
from plugvisor.errors import SupervisorUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from plugvisor.engines.supervisord.stream_messages import CheckEnd


class Executions:
    """Those that have not ended, by number. Another service's have other numbers, in all likelihood."""

    def __init__(self) -> None:
        self._numbers = itertools.count(secrets.randbelow(2**30))  # an integer of XML-RPC has 32 bits
        self._waiting: dict[int, asyncio.Future[Execution | None]] = {}

    async def run(self, begin: Callable[[int], Awaitable[object]], timeout_seconds: float) -> Execution:
        """Begin an execution under a number, and wait for its end.

        Raises:
            SupervisorUnavailable: it was not reported in time, or the state stream has fallen silent.
        """
        number = next(self._numbers)
        future: asyncio.Future[Execution | None] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            await begin(number)
            await asyncio.wait((future,), timeout=timeout_seconds)
        finally:
            del self._waiting[number]
        execution = future.result() if future.done() else None
        if execution is None:
            raise SupervisorUnavailable("supervisord has not reported the end of a check's command")
        return execution

    def settle(self, end: CheckEnd) -> None:
        """An end was reported."""
        future = self._waiting.get(end.number)
        if future is not None and not future.done():
            future.set_result(Execution(end.code, end.signal, end.error, end.timed_out))

    def fail(self) -> None:
        """supervisord does not answer: what has ended since is not reported."""
        for future in self._waiting.values():
            if not future.done():
                future.set_result(None)
