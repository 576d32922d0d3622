"""Waits for what the engine or the checks say of one plugin."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Waiter:
    """Whoever waits for a plugin; `wake` is called whenever the plugin may have changed."""

    def __init__(self) -> None:
        self._futures: dict[str, set[asyncio.Future[None]]] = {}

    async def wait_for(self, plugin_id: str, condition: Callable[[], bool], timeout_seconds: float) -> bool:
        """Wait until a condition is true, or the time is over; returns whether it is true."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        while not condition():
            if loop.time() >= deadline:
                return False
            future = loop.create_future()
            waiting = self._futures.setdefault(plugin_id, set())
            waiting.add(future)
            try:
                await asyncio.wait([future], timeout=deadline - loop.time())
            finally:
                waiting.discard(future)
                if not waiting and self._futures.get(plugin_id) is waiting:
                    del self._futures[plugin_id]
        return True

    def wake(self, plugin_id: str | None) -> None:
        """Have those who wait for a plugin look again; None: everyone."""
        if self._futures:
            for name in [plugin_id] if plugin_id is not None else list(self._futures):
                for future in self._futures.pop(name, ()):
                    if not future.done():
                        future.set_result(None)
