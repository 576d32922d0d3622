"""The live picture of every plugin's process: the only thing that reads touch.

This is its portable form, for any supervisord: each read is answered by a `getAllProcessInfo` that began
after the read arrived, and all reads that wait share one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from service.errors import SupervisorUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from service.supervisord.client import SupervisorClient
    from service.supervisord.states import Process

READ_TIMEOUT_SECONDS = 4.5
"""A read may wait for the call before its own too; it is answered within this time all the same."""


class Board:
    """Coalesces reads. At most one call is under way, and at most one more is waited for."""

    def __init__(self, client: SupervisorClient, timeout_seconds: float = READ_TIMEOUT_SECONDS) -> None:
        self._client = client
        self._timeout_seconds = timeout_seconds
        self._current: asyncio.Task[Mapping[str, Process]] | None = None
        self._next: asyncio.Task[Mapping[str, Process]] | None = None

    async def read(self) -> Mapping[str, Process]:
        """Every program's process by its name, at one instant that is not before this call.

        Raises:
            SupervisorUnavailable: supervisord cannot tell; no older picture is shown in its stead.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._take_turn(self._current))
            # where every reader has given up, nobody else looks at how it ended
            self._next.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            # shield: a reader that goes away cancels nothing for the others
            async with asyncio.timeout(self._timeout_seconds):
                return await asyncio.shield(self._next)
        except TimeoutError as error:
            raise SupervisorUnavailable(
                f"supervisord did not answer within {self._timeout_seconds:g} seconds: it is stopped or very busy"
            ) from error

    async def close(self) -> None:
        """End the calls under way."""
        for task in (self._next, self._current):
            if task is not None:
                task.cancel()
        await asyncio.gather(*filter(None, (self._next, self._current)), return_exceptions=True)

    async def _take_turn(self, before: asyncio.Task[Mapping[str, Process]] | None) -> Mapping[str, Process]:
        if before is not None:
            await asyncio.wait([before])
        # From here on this call is under way: who comes now waits for the next one.
        self._current, self._next = self._next, None
        return await self._client.get_processes()
