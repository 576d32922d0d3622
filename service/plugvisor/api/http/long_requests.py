"""Requests that may take minutes, and are answered when the service ends: uvicorn would cancel them seconds later."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class LongRequests:
    """Those that are under way."""

    def __init__(self) -> None:
        self._timeouts: set[asyncio.Timeout] = set()
        self._is_closed = False

    @asynccontextmanager
    async def until_shutdown(self) -> AsyncIterator[None]:
        """Raise `TimeoutError` in the block when the service is about to end."""
        async with asyncio.timeout(0 if self._is_closed else None) as timeout:
            self._timeouts.add(timeout)
            try:
                yield
            finally:
                self._timeouts.discard(timeout)

    def close(self) -> None:
        """The service is about to end."""
        self._is_closed = True
        for timeout in self._timeouts:
            timeout.reschedule(asyncio.get_running_loop().time())
