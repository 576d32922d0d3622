"""What operators want of the plugins: what they have started, stopped and disabled."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from plugvisor.errors import StoreUnavailable
from plugvisor.models.stored.intent import Intent
from plugvisor.store import intents as stored

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from plugvisor.models.stored.intent import Wanted
    from plugvisor.store.store import Store


class Intents:
    """Keeps the intents in memory and in the store.

    Args:
        remembers: whether starts and stops become intents; what is disabled is remembered in any case.
    """

    def __init__(self, store: Store, *, remembers: bool) -> None:
        self.version = 0
        """Another number whenever an intent is another."""
        self.on_change: list[Callable[[str], object]] = []
        """Called with the id of a plugin whose intent has changed."""
        self._store = store
        self._remembers = remembers
        self._intents: dict[str, Intent] = {}
        self._disabled: dict[str, tuple[str, float]] = {}

    def get(self, plugin_id: str) -> Intent | None:
        """What is wanted of a plugin; None if nobody has said, or it is not remembered."""
        return self._intents.get(plugin_id)

    @property
    def disabled(self) -> Collection[str]:
        """The plugins that are kept from being started."""
        return self._disabled

    async def load(self) -> None:
        """Read what is remembered; nothing is raised."""

    async def remember(self, plugin_id: str, wanted: Wanted, by: str) -> bool:
        """Remember what is wanted of a plugin; returns whether that outlives a restart from now on."""
        if not self._remembers:
            return True
        intent = Intent(wanted, by, time.time())
        self._intents[plugin_id] = intent
        self.version += 1
        for callback in self.on_change:
            callback(plugin_id)
        try:
            await self._store.write(lambda connection: stored.save_intent(connection, plugin_id, intent))
        except StoreUnavailable:
            return False
        return True
