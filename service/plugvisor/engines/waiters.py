"""Tasks that wait for a change of a plugin."""

from __future__ import annotations

import asyncio


class Waiters:
    """Tasks in `wait`, until `wake` is called with what they wait for."""

    def __init__(self) -> None:
        self._futures: dict[str | None, set[asyncio.Future[None]]] = {}

    async def wait(self, plugin_id: str | None, timeout_seconds: float) -> None:
        """Wait for the next change of a plugin, or with None of any plugin, or until the time is over."""
        future = asyncio.get_running_loop().create_future()
        waiting = self._futures.setdefault(plugin_id, set())
        waiting.add(future)
        try:
            await asyncio.wait([future], timeout=max(0.0, timeout_seconds))
        finally:
            waiting.discard(future)
            if not waiting and self._futures.get(plugin_id) is waiting:
                del self._futures[plugin_id]

    def wake(self, plugin_id: str | None) -> None:
        """A plugin has changed; None: each may have."""
        for waited_for in (plugin_id, None) if plugin_id is not None else list(self._futures):
            for future in self._futures.pop(waited_for, ()):
                if not future.done():
                    future.set_result(None)
