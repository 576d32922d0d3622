"""Facts about tasks that the swarm forgets or never reports."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from plugvisor.engines.swarm.watch.replicas import is_alive
from plugvisor.engines.swarm.watch.restarts import find_replaced

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from plugvisor.engines.swarm.watch.answers import SwarmNode, SwarmTask

OUTAGE_SECONDS = 3.0
"""The managers take longer than this to elect a leader, and answer nothing meanwhile."""
NEW_SECONDS = 10.0
"""How long a leader counts as new: on a busy machine it leads for seconds before it deletes anything."""
MARGIN_SECONDS = 5.0
"""How much longer than the stop of a container may take its node may need to hear of a new leader, and of the stop."""
_GRACE_SECONDS = 10.0  # what the Engine allows a stop unless the spec says otherwise
_MOST_DEATHS = 1000


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


class ForgottenTasks:
    """Tasks that a new leader has deleted although their containers may not have ended yet.

    A leader that was just elected deletes every task that is to be removed, whatever has become of it; its node goes on
    with the stop. Until that must be over, or the node's Engine has reported the end, such a task counts as it was.
    """

    def __init__(self) -> None:
        self._tasks: dict[str, dict[str, tuple[SwarmTask, float]]] = {}
        self._deaths: deque[str] = deque(maxlen=_MOST_DEATHS)
        self._leader = ""
        self._polled_at: float | None = None
        self._new_until = 0.0

    def note_poll(self, nodes: Iterable[SwarmNode], began: float) -> bool:
        """Take over a poll that began at a time on the monotonic clock.

        Returns:
            whether the leader may be new.
        """
        before, since = self._leader, self._polled_at
        self._leader = next((node.id for node in nodes if node.manager is not None and node.manager.leader), "")
        self._polled_at = began
        if since is not None and (self._leader != before or began - since > OUTAGE_SECONDS):
            self._new_until = began + NEW_SECONDS
        return began < self._new_until

    def note_missing(
        self, before: Mapping[str, Iterable[SwarmTask]], after: Mapping[str, Iterable[SwarmTask]], now: float
    ) -> set[str]:
        """The leader is new: keep what was alive and is listed no more; returns the ids of these plugins."""
        present = {task.id for tasks in after.values() for task in tasks}
        found = set()
        for plugin_id, tasks in before.items():
            for task in tasks:
                if is_alive(task) and task.id not in present and task.id not in self._deaths:
                    period = task.spec.container_spec.stop_grace_period
                    seconds = (_GRACE_SECONDS if period is None else period / 1e9) + MARGIN_SECONDS
                    ending = msgspec.structs.replace(task, desired="remove")
                    self._tasks.setdefault(plugin_id, {})[task.id] = ending, now + seconds
                    found.add(plugin_id)
        return found

    def note_death(self, task_id: str) -> str | None:
        """An Engine reports that the container of a task has ended; returns the plugin if the task was kept."""
        self._deaths.append(task_id)
        for plugin_id, tasks in self._tasks.items():
            if tasks.pop(task_id, None) is not None:
                return plugin_id
        return None

    def list_containers(self) -> dict[str, SwarmTask]:
        """Of all plugins, those that have had a container, by its id."""
        tasks = [task for kept in self._tasks.values() for task, _ in kept.values()]
        containers = [(task.status.container_status, task) for task in tasks]
        return {container.id: task for container, task in containers if container is not None and container.id}

    def list_tasks(self, plugin_id: str, now: float) -> list[SwarmTask]:
        """Those of a plugin that may be alive."""
        tasks = self._tasks.pop(plugin_id, {})
        if left := {task_id: one for task_id, one in tasks.items() if one[1] > now}:
            self._tasks[plugin_id] = left
        return [task for task, _ in left.values()]

    def find_end(self, plugin_id: str) -> float | None:
        """When the next of them has ended for certain, on the monotonic clock; None if there is none."""
        return min((until for _, until in self._tasks.get(plugin_id, {}).values()), default=None)
