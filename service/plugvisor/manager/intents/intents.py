"""The intents: which plugins operators have started, stopped and disabled."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from plugvisor.errors import StartFailed, StopTimeout, StoreUnavailable
from plugvisor.manager.intents.persistence import Persistence
from plugvisor.models.stored.intent import Intent
from plugvisor.store.tables import intents as stored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from plugvisor.engines.engine import Engine
    from plugvisor.models.process import Asked
    from plugvisor.models.stored.intent import Wanted
    from plugvisor.store.store import Store

T = TypeVar("T")

_NOTHING: Mapping[str, Intent] = {}


class Intents:
    """Keeps the intents, and what is disabled, in memory and in the store.

    A change applies in memory at once. What the store does not take is stored again until it does.

    Args:
        remembers: whether starts and stops become intents; what is disabled is remembered in any case.
    """

    def __init__(self, store: Store, *, remembers: bool) -> None:
        self.version = 0
        """Another number whenever an intent, or what is disabled, is another."""
        self.on_change: list[Callable[[str | None], object]] = []
        """Called with the id of a plugin whose intent has changed or that was disabled or enabled; None: all may be."""
        self.on_asked: list[Callable[[str, Asked], object]] = []
        """Called with each request of supervisorctl, once, and the id of its plugin."""
        self._remembers = remembers
        self._held = held = stored.StoredIntents({}, {}, {})
        self._intents, self._disabled, self._asked = held.intents, held.disabled, held.asked
        self.persistence = Persistence(store, held, lambda: self._announce(None))
        self.wait_stored = self.persistence.wait_stored

    async def load(self) -> None:
        """Read what is remembered, or go on without it until the store can be read; nothing is raised."""
        await self.persistence.load()

    async def close(self) -> None:
        """Wait for what is being stored."""
        await self.persistence.close()

    # -- reading

    @property
    def all(self) -> Mapping[str, Intent]:
        """The intents, by plugin id."""
        return self._intents if self._remembers else _NOTHING

    @property
    def disabled(self) -> Mapping[str, tuple[str, float]]:
        """The plugins that are kept from being started: who has disabled each, and when."""
        return self._disabled

    @property
    def starts(self) -> dict[str, bool] | None:
        """Whether each plugin is started at boot whose manifest does not decide that; None: not known yet."""
        if not self.persistence.is_loaded:
            return None
        starts = {plugin_id: intent.wanted == "running" for plugin_id, intent in self.all.items()}
        return starts | dict.fromkeys(self._disabled, False)

    # -- changes: in memory at once

    def set(self, plugin_id: str, wanted: Wanted, by: str) -> None:
        """Remember what a client wants of a plugin.

        Args:
            by: its identity's name; if it is empty, nobody has asked and nothing is remembered.
        """
        if self._remembers and by:
            self._change(self._intents, plugin_id, Intent(wanted, by, time.time()))

    @asynccontextmanager
    async def attempt(self, plugin_id: str, wanted: Wanted, by: str) -> AsyncIterator[None]:
        """Store what a client wants while it is being done; forget it again if nothing came of it."""
        if not (self._remembers and by):
            yield
            return
        if not self.persistence.is_loaded:
            # nothing can be stored yet, and what it would have to go back to is not known
            try:
                yield
            except (StartFailed, StopTimeout):
                self.set(plugin_id, wanted, by)
                raise
            self.set(plugin_id, wanted, by)
            return
        before = self._intents.get(plugin_id)
        intent = Intent(wanted, by, time.time())
        self._put(self._intents, plugin_id, intent)
        try:
            yield
        except (StartFailed, StopTimeout):  # it was tried
            await self.wait_stored(plugin_id)
            raise
        except BaseException:
            if self._intents.get(plugin_id) is intent:
                self._put(self._intents, plugin_id, before)
            raise
        finally:
            self._announce(plugin_id)  # now: a change of the process has said it already

    async def forget(self, plugin_id: str) -> None:
        """Have the manifest decide about a plugin again; raises `StoreUnavailable`, and then nothing has changed."""
        await self._change_surely(self._intents, plugin_id)

    def drop(self, plugin_id: str) -> None:
        """Have the manifest decide about a plugin again, and store that soon."""
        self._change(self._intents, plugin_id, None)

    async def enable(self, plugin_id: str) -> None:
        """Disable a plugin no more; raises `StoreUnavailable`, and then nothing has changed."""
        await self._change_surely(self._disabled, plugin_id)

    def disable(self, plugin_id: str, by: str) -> None:
        """Keep a plugin from being started; nothing changes if it is disabled already."""
        if plugin_id not in self._disabled:
            self._change(self._disabled, plugin_id, (by, time.time()))

    def follow(self, engine: Engine, plugin_id: str | None = None) -> None:
        """Take over what operators have asked for by supervisorctl, each request once; with None, of all plugins."""
        if self.persistence.is_loaded and engine.is_live:
            processes = engine.read().items() if plugin_id is None else [(plugin_id, engine.get(plugin_id))]
            for name, process in processes:
                if process.asked is not None and process.asked.token != self._asked.get(name):
                    self._take_over(name, process.asked)

    def _take_over(self, plugin_id: str, asked: Asked) -> None:
        self._asked[plugin_id] = asked.token
        for callback in self.on_asked:
            callback(plugin_id, asked)
        known = self._intents.get(plugin_id)
        if not self._remembers or (known is not None and known.is_after(asked.at)):
            self.persistence.begin_write(plugin_id)
        else:
            self._change(self._intents, plugin_id, Intent(asked.wanted, asked.by, asked.at))

    # -- on another machine

    def list_all(self) -> stored.StoredIntents:
        """All that is held here."""
        return self._held

    def take_over(
        self,
        intents: Mapping[str, Intent | None],
        disabled: Mapping[str, tuple[str, float] | None],
        asked: Mapping[str, str | None],
    ) -> None:
        """Take over what was changed on another machine, by plugin, and store it; None: it is gone there."""
        for table, changed in ((self._intents, intents), (self._disabled, disabled), (self._asked, asked)):
            for plugin_id, value in changed.items():
                self._put(table, plugin_id, value)  # type: ignore[misc]
        self._announce(None)

    # -- parts

    def _change(self, table: dict[str, T], plugin_id: str, value: T | None) -> None:
        self._put(table, plugin_id, value)
        self._announce(plugin_id)

    def _put(self, table: dict[str, T], plugin_id: str, value: T | None) -> None:
        if value is None:
            table.pop(plugin_id, None)
        else:
            table[plugin_id] = value
        self.version += 1
        self.persistence.begin_write(plugin_id)

    async def _change_surely(self, table: dict[str, T], plugin_id: str) -> None:
        """Delete something, unless that cannot be stored."""
        if self.persistence.is_loaded:
            before = table.get(plugin_id)
            if before is None:
                return
            self._change(table, plugin_id, None)
            if await self.wait_stored(plugin_id):
                return
            if plugin_id not in table:
                self._change(table, plugin_id, before)
        raise StoreUnavailable("it cannot be remembered now, and nothing was changed")

    def _announce(self, plugin_id: str | None) -> None:
        self.version += 1
        for callback in self.on_change:
            callback(plugin_id)
