"""The processes of all plugins at one instant, made from what the Engine answers."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from plugvisor.engines.swarm.watch.answers import decode_nodes, decode_services, decode_tasks
from plugvisor.engines.swarm.watch.memories import ForgottenTasks, RestartMemory, RunningTimes
from plugvisor.engines.swarm.watch.nodes import has_quorum, make_nodes
from plugvisor.engines.swarm.watch.replicas import is_alive
from plugvisor.engines.swarm.watch.specs import make_remains, read_replicas
from plugvisor.engines.swarm.watch.states import Hints, make_process
from plugvisor.models.process import Process, ProcessState

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from plugvisor.engines.swarm.services.names import Names
    from plugvisor.engines.swarm.watch.answers import SwarmNode, SwarmTask
    from plugvisor.models.cluster.node import Node

logger = logging.getLogger(__name__)

_MOST_KILLED = 1000
_NOT_UNDERSTOOD = "what the swarm says of it is not understood; the log of this service says more"


class Snapshot:
    """Takes over answers; what has not changed in them costs next to nothing, and keeps its objects."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self.processes: Mapping[str, Process] = {}
        """By plugin id; replaced as a whole, never changed."""
        self.services: Mapping[str, Mapping[str, Any]] = {}
        """By plugin id, as the Engine describes them; replaced as a whole, so that any thread may read it."""
        self.nodes: tuple[Node, ...] = ()
        self._answers = (b"", b"", b"")
        self._listed: frozenset[str] = frozenset()  # the ids of all services of the answer, also of those that are none
        self._tasks: Mapping[str, Sequence[SwarmTask]] = {}
        self._nodes: Mapping[str, SwarmNode] = {}
        self._running = RunningTimes()
        self._restarts = RestartMemory()
        self._forgotten = ForgottenTasks()
        self._until: dict[str, float] = {}
        self._out_of_memory: deque[str] = deque(maxlen=_MOST_KILLED)

    @property
    def next_change(self) -> float | None:
        """When a process becomes another by the passing of time alone, on the monotonic clock."""
        return min(self._until.values(), default=None)

    @property
    def has_quorum(self) -> bool:
        """Whether more than half of the managers are up."""
        return has_quorum(self._nodes.values())

    def take(self, answers: tuple[bytes, bytes, bytes], began: float, now: float) -> set[str]:
        """Take over answers of the Engine; returns the ids of the plugins whose processes have changed.

        Args:
            answers: to `GET /tasks`, `GET /services` and `GET /nodes`.
            began: when the first of them was asked for, on the monotonic clock.
            now: on the monotonic clock.

        Raises:
            msgspec.DecodeError: an answer has another form.
        """
        due = {plugin_id for plugin_id, until in self._until.items() if until <= now}
        if answers != self._answers:
            due |= self._decode(answers, began, now)
        else:
            self._forgotten.note_poll(self._nodes.values(), began)
        return self.pass_time(now, due) if due else due

    def pass_time(self, now: float, due: set[str] | None = None) -> set[str]:
        """Make processes again; returns the ids of those that have changed.

        Args:
            due: which; those that become others by the passing of time if it is left out.
        """
        if due is None:
            due = {plugin_id for plugin_id, until in self._until.items() if until <= now}
        hints = Hints(now, self._running.since, frozenset(self._out_of_memory))
        made = dict(self.processes)
        changed = set()
        for plugin_id in due:
            self._until.pop(plugin_id, None)
            old = made.pop(plugin_id, None)
            tasks = self._list_tasks(plugin_id, now)
            if plugin_id in self.services or tasks:
                process = self._make(plugin_id, tasks, hints)
                made[plugin_id] = old if old == process else process
            else:
                self._restarts.forget(plugin_id)
            if made.get(plugin_id) is not old:
                changed.add(plugin_id)
        if changed:
            self.processes = made
        return changed

    def note_out_of_memory(self, task_id: str) -> None:
        """Remember that the kernel has killed a process of a task; the next poll shows it, and `pass_time` does."""
        self._out_of_memory.append(task_id)
        for plugin_id, tasks in self._tasks.items():
            if any(task.id == task_id for task in tasks):
                self._until[plugin_id] = 0.0

    def list_forgotten(self) -> Mapping[str, SwarmTask]:
        """Tasks that the swarm has forgotten, and that may be alive, by their containers."""
        return self._forgotten.list_containers()

    def note_death(self, task_id: str) -> None:
        """An Engine reports that the container of a task has ended: `pass_time` shows it."""
        if (plugin_id := self._forgotten.note_death(task_id)) is not None:
            self._until[plugin_id] = 0.0

    def _decode(self, answers: tuple[bytes, bytes, bytes], began: float, now: float) -> set[str]:
        """Decode what has changed; returns the ids of the plugins that it is about."""
        all_tasks, services, listed = decode_tasks(answers[0]), self.services, self._listed
        if answers[1] != self._answers[1]:
            found = decode_services(answers[1])
            services, listed = self._find_services(found), frozenset(str(one.get("ID")) for one in found)
        nodes = self._nodes
        if answers[2] != self._answers[2]:
            nodes = {node.id: node for node in decode_nodes(answers[2])}
        tasks = self._group_tasks(all_tasks, services, listed)
        plugin_ids = services.keys() | self.services.keys() | tasks.keys() | self._tasks.keys()
        if nodes == self._nodes:
            plugin_ids = {
                plugin_id
                for plugin_id in plugin_ids
                if services.get(plugin_id) is not self.services.get(plugin_id)
                or tasks.get(plugin_id) is not self._tasks.get(plugin_id)
            }
        shown_nodes = make_nodes(nodes.values(), tasks)
        self._running.update(all_tasks, began, now)
        if self._forgotten.note_poll(nodes.values(), began):
            plugin_ids = plugin_ids | self._forgotten.note_missing(self._tasks, tasks, now)
        # all or nothing: an answer that is not understood is not taken for a known one the next time
        self._tasks, self.services, self._nodes, self.nodes = tasks, services, nodes, shown_nodes
        self._listed, self._answers = listed, answers
        return set(plugin_ids)

    def _list_tasks(self, plugin_id: str, now: float) -> Sequence[SwarmTask]:
        """The tasks of a plugin, the oldest first, also those that the swarm has forgotten."""
        tasks = self._tasks.get(plugin_id, ())
        present = {task.id for task in tasks}
        forgotten = [task for task in self._forgotten.list_tasks(plugin_id, now) if task.id not in present]
        return [*forgotten, *tasks] if forgotten else tasks

    def _make(self, plugin_id: str, tasks: Sequence[SwarmTask], hints: Hints) -> Process:
        service = self.services.get(plugin_id) or make_remains(tasks[-1])
        try:
            if read_replicas(service["Spec"]):
                force_update = service["Spec"]["TaskTemplate"].get("ForceUpdate", 0)
                forgotten = self._restarts.count_forgotten(plugin_id, tasks, force_update)
            else:
                forgotten = 0
                self._restarts.forget(plugin_id)
            process, until = make_process(service, tasks, self._nodes, hints, forgotten)
        except Exception:  # one odd service must not blind the others
            logger.exception("what the swarm says of %s is not understood", plugin_id)
            return Process(ProcessState.UNKNOWN, explanation=_NOT_UNDERSTOOD)
        ends = [at for at in (until, self._forgotten.find_end(plugin_id)) if at is not None]
        if ends:
            self._until[plugin_id] = min(ends)
        return process

    def _find_services(self, answer: Sequence[Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
        """Services by their plugin's id. Those that have not changed are kept."""
        old = self.services
        found = {plugin_id: service for service in answer if (plugin_id := self._names.find_service_plugin(service))}
        return {plugin_id: old[plugin_id] if old.get(plugin_id) == one else one for plugin_id, one in found.items()}

    def _group_tasks(
        self, tasks: Sequence[SwarmTask], services: Mapping[str, Mapping[str, Any]], listed: Collection[str]
    ) -> Mapping[str, Sequence[SwarmTask]]:
        """Tasks by their plugin's id, the oldest first. Lists that have not changed are kept.

        A service can be deleted while its tasks still run: the labels of their containers say whose they are.
        """
        old = self._tasks
        grouped: dict[str, list[SwarmTask]] = {}
        plugin_ids = {service.get("ID"): plugin_id for plugin_id, service in services.items()}
        for task in sorted(tasks, key=lambda one: (one.created, one.id)):
            plugin_id = plugin_ids.get(task.service_id, "")
            if task.service_id not in listed and is_alive(task):
                plugin_id = self._names.find_plugin_id(task.spec.container_spec.labels)
            if plugin_id:
                grouped.setdefault(plugin_id, []).append(task)
        return {name: old[name] if old.get(name) == ones else ones for name, ones in grouped.items()}
