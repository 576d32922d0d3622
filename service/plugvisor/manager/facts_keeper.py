"""Keeps the facts of each plugin: its health, and what it says of its dependencies."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from plugvisor.errors import SupervisorUnavailable
from plugvisor.manager.dependencies.conditions import Verdict
from plugvisor.manager.facts import Facts
from plugvisor.models.health import Health
from plugvisor.models.process import NEVER_ADDED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from plugvisor.engines.engine import Engine
    from plugvisor.manager.catalog_keeper import CatalogKeeper
    from plugvisor.manager.checks.monitor import HealthMonitor
    from plugvisor.manager.dependencies.conditions import Conditions
    from plugvisor.models.lifecycle import WatchState


_NONE = Facts()
_NO_NOTE = "", None
_UNTIL_IT_IS_BACK = contextlib.suppress(SupervisorUnavailable)
"""It may fall silent at any moment; then the snapshot with which it is back updates everything."""


class FactsKeeper:
    """Keeps the facts of the plugins that have some; every other plugin costs a look-up for each of its changes."""

    def __init__(self, keeper: CatalogKeeper, engine: Engine, monitor: HealthMonitor, conditions: Conditions) -> None:
        self.version = 0
        """Another number whenever a fact may be another."""
        self.on_change: list[Callable[[str], object]] = []
        """Called with the id of a plugin whose facts have changed, unless its process has changed with them."""
        self._keeper = keeper
        self._engine = engine
        self._monitor = monitor
        self._conditions = conditions
        self.all: dict[str, Facts] = {}
        """By id, the facts of each plugin that has some."""
        self._notes: dict[str, tuple[str, WatchState | None]] = {}

    def note_watch(self, plugin_id: str, watch: WatchState | None, note: str) -> None:
        """Show in a plugin's status how its files are watched; None if they are not."""
        if (note, watch) == self._notes.get(plugin_id, _NO_NOTE):
            return
        if watch is not None:
            self._notes[plugin_id] = note, watch
        else:
            del self._notes[plugin_id]
        with _UNTIL_IT_IS_BACK:
            self._announce([plugin_id])

    def get(self, plugin_id: str) -> Facts | None:
        """A plugin's facts; None if there is nothing to say."""
        return self.all.get(plugin_id)

    def follow_process(self, plugin_id: str | None) -> None:
        """A process has changed, or with None every one may have."""
        if plugin_id is None:
            self.update_all()
            return
        with _UNTIL_IT_IS_BACK:
            self._update(plugin_id)
            self._announce(self._keeper.get_dependents(plugin_id))

    def concerns(self, plugin_id: str) -> bool:
        """Whether a change of a plugin's process can change any facts."""
        return (
            plugin_id in self.all
            or self._monitor.get(plugin_id) is not None
            or self._keeper.is_related(plugin_id)
            or (self._engine.is_live and bool(self._engine.get(plugin_id).queued))
        )

    def follow_catalog(self) -> None:
        """The catalog has changed: what plugins depend on may be other plugins."""
        with _UNTIL_IT_IS_BACK:
            for plugin_id in {*self.all, *self._keeper.list_dependents()}:
                self._update(plugin_id)

    def follow_health(self, plugin_id: str) -> None:
        """A plugin's health has changed, and its process has not."""
        with _UNTIL_IT_IS_BACK:
            self._announce([plugin_id, *self._keeper.get_dependents(plugin_id)])

    def update_all(self) -> None:
        """Everything may have changed; clients learn of that in another way."""
        with _UNTIL_IT_IS_BACK:
            for plugin_id in {*self.all, *self._notes, *self._engine.read()}:
                self._update(plugin_id)

    def _announce(self, plugin_ids: Iterable[str]) -> None:
        for plugin_id in plugin_ids:
            if self._update(plugin_id):
                for callback in self.on_change:
                    callback(plugin_id)

    def _update(self, plugin_id: str) -> bool:
        """Returns whether the facts have changed."""
        facts, before = self._make(plugin_id), self.all.get(plugin_id, _NONE)
        if facts == before:
            return False
        if facts == _NONE:
            del self.all[plugin_id]
        else:
            self.all[plugin_id] = facts
        self.version += 1
        return True

    def _make(self, plugin_id: str) -> Facts:
        process = self._engine.read().get(plugin_id, NEVER_ADDED)
        health, queued = self._monitor.get(plugin_id), bool(process.queued)
        failure = self._monitor.explain(plugin_id) if health is Health.UNHEALTHY else ""
        own, watch = self._notes.get(plugin_id, _NO_NOTE)
        requirements = self._keeper.get_requirements(plugin_id, queued=queued)
        if not requirements or not (queued or process.is_alive):
            note = "; ".join(filter(None, (failure, own)))
            has_some = queued or health is not None or note or watch
            return Facts(health, queued, note=note, watch=watch) if has_some else _NONE
        needs = self._conditions.judge(requirements)
        unmet = [need.dependency for need in needs if need.requirement.required and need.verdict is not Verdict.MET]
        note = self._conditions.describe_wait(needs) if queued else self._conditions.describe_lack(needs)
        return Facts(health, queued, tuple(sorted(unmet)), "; ".join(filter(None, (failure, note, own))), watch)
