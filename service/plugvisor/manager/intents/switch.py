"""Disables and enables plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugvisor.errors import NotRunning
from plugvisor.manager.outcome import Outcome

if TYPE_CHECKING:
    from plugvisor.engines.engine import Engine
    from plugvisor.manager.catalog_keeper import CatalogKeeper
    from plugvisor.manager.dependencies.stops import Stops
    from plugvisor.manager.intents.intents import Intents
    from plugvisor.manager.operations import Operations


class Switch:
    """Each of its operations may be repeated, and may raise `PluginNotFound`."""

    def __init__(
        self, keeper: CatalogKeeper, engine: Engine, intents: Intents, operations: Operations, stops: Stops
    ) -> None:
        self._keeper = keeper
        self._engine = engine
        self._intents = intents
        self._operations = operations
        self._stops = stops

    async def disable(self, plugin_id: str, by: str, wait_seconds: float | None = None) -> Outcome:
        """Keep a plugin from being started from now on, then stop it if it runs.

        Args:
            by: the name of the identity that has asked for it.
            wait_seconds: return after this time even if it is STOPPING; it is stopped all the same.

        Raises:
            StopTimeout: it is disabled, and still alive after SIGKILL and the deadline.
            SupervisorUnavailable
        """
        self._keeper.get(plugin_id)
        self._engine.read()
        return await self._operations.run_detached(self._disable(plugin_id, by, wait_seconds))

    async def enable(self, plugin_id: str) -> None:
        """Disable a plugin no more; it is not started. Raises `StoreUnavailable`, and then nothing has changed."""
        self._keeper.get(plugin_id)
        await self._operations.run_detached(self._intents.enable(plugin_id))

    async def forget_intent(self, plugin_id: str) -> None:
        """Have the manifest decide whether a plugin is started at boot.

        Raises:
            StoreUnavailable: nothing has changed.
        """
        self._keeper.get(plugin_id)
        await self._operations.run_detached(self._intents.forget(plugin_id))

    async def _disable(self, plugin_id: str, by: str, wait_seconds: float | None) -> Outcome:
        self._intents.disable(plugin_id, by)
        # first: a stop that ends with the machine's power is no reason to start it again
        remembered = await self._intents.wait_stored(plugin_id)
        try:
            # a client that shared it would have no intent
            outcome = await self._stops.stop(plugin_id, wait_seconds, is_shared=False)
        except NotRunning:
            outcome = Outcome(self._engine.get(plugin_id), finished=True)
        return Outcome(outcome.process, outcome.finished, remembered=remembered)
