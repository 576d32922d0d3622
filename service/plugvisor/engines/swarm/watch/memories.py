"""Facts about tasks that the swarm forgets or never reports."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from plugvisor.engines.swarm.watch.restarts import find_replaced

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from plugvisor.engines.swarm.watch.answers import SwarmTask


class RunningTimes:
    """When running tasks were started, on the monotonic clock of this machine.

    A node's clock may be wrong. So what was seen to begin between two polls has begun between them, whatever it says.
    """

    def __init__(self) -> None:
        self.since: dict[str, float] = {}
        """By task id."""
        self._polled_at: float | None = None

    def update(self, tasks: Iterable[SwarmTask], began: float, now: float) -> None:
        """Take over all tasks.

        Args:
            began: when they were asked for.
        """
        offset = time.time() - now
        since: dict[str, float] = {}
        for task in tasks:
            if task.status.state != "running":
                continue
            known = self.since.get(task.id)
            if known is None:
                known = min(task.status.timestamp.timestamp() - offset, now)
                if self._polled_at is not None:  # else it may be older than this machine, and the number negative
                    known = max(known, self._polled_at)
            since[task.id] = known
        self.since = since
        self._polled_at = began


@dataclass
class _Run:
    force_update: int
    replaced: set[str] = field(default_factory=set)
    forgotten: int = 0


class RestartMemory:
    """Counts the tasks of a run that the swarm has deleted: it keeps five of each replica."""

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}

    def count_forgotten(self, plugin_id: str, tasks: Sequence[SwarmTask], force_update: int) -> int:
        """How many tasks that have ended by themselves were seen in the present run, and are there no more.

        Args:
            tasks: of the plugin, the oldest first.
            force_update: of the present run.
        """
        run = self._runs.get(plugin_id)
        if run is None or run.force_update != force_update:
            run = self._runs[plugin_id] = _Run(force_update)
        present = {task.id for task in tasks}
        run.forgotten += len(run.replaced - present)
        run.replaced = {task.id for task in find_replaced(tasks, force_update)}
        return run.forgotten

    def forget(self, plugin_id: str) -> None:
        """The plugin was stopped, or is gone."""
        self._runs.pop(plugin_id, None)
