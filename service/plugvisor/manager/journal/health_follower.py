"""Notes in the journal how the checks of the plugins end."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET

from plugvisor.errors import StoreUnavailable, SupervisorUnavailable
from plugvisor.manager.journal.process_follower import find_start
from plugvisor.models.health import CheckStatus, Health
from plugvisor.models.stored.journal import Facts, NewEntry
from plugvisor.store.tables.journal import read_last

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plugvisor.engines.engine import Engine
    from plugvisor.manager.checks.monitor import HealthMonitor
    from plugvisor.manager.journal.recorder import Recorder
    from plugvisor.store.store import Store
    from plugvisor.store.tables.journal import StoredEntry


class HealthFollower:
    """Follows a monitor's verdicts."""

    def __init__(self, engine: Engine, monitor: HealthMonitor, recorder: Recorder) -> None:
        self._engine = engine
        self._monitor = monitor
        self._recorder = recorder
        self._remembered: dict[str, StoredEntry] = {}

    async def open(self, store: Store, plugin_ids: Iterable[str]) -> None:
        """Follow them; what an earlier run of the service has found out is not noted again."""
        with contextlib.suppress(StoreUnavailable):
            ids = list(plugin_ids)
            self._remembered = await store.read(lambda connection: read_last(connection, "check", ids))
        self._monitor.on_change.append(self._on_change)

    def close(self) -> None:
        """Follow them no more."""
        self._monitor.on_change.remove(self._on_change)

    def _on_change(self, plugin_id: str) -> None:
        with contextlib.suppress(SupervisorUnavailable):  # it has just fallen silent
            self._note(plugin_id)

    def _note(self, plugin_id: str) -> None:
        health = self._monitor.get(plugin_id)
        if health is None:
            return
        down = [check.name for check in self._monitor.list_checks(plugin_id) if check.status is CheckStatus.DOWN]
        facts = Facts(
            health=health,
            subject=", ".join(down) or UNSET,
            detail=(health is Health.UNHEALTHY and self._monitor.explain(plugin_id)) or UNSET,
        )
        remembered = self._remembered.pop(plugin_id, None)
        if remembered is not None and self._is_known(plugin_id, facts, remembered):
            return
        self._recorder.note(NewEntry("check", facts, plugin_id))

    def _is_known(self, plugin_id: str, facts: Facts, remembered: StoredEntry) -> bool:
        """Whether it is what an earlier run of the service has said of the same process."""
        before = msgspec.json.decode(remembered.facts, type=Facts)
        is_same = (before.health, before.subject) == (facts.health, facts.subject)
        return is_same and find_start(self._engine.get(plugin_id)) <= remembered.until
