"""Stops programs when supervisord ends, a plugin after those that depend on it, and then ends their orphans."""

from __future__ import annotations

import time
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any

from supervisor.states import STOPPED_STATES

from plugvisor.engines.supervisord.extension.processes.orphans import END_SECONDS
from plugvisor.engines.supervisord.extension.processes.plugin_process import PluginProcess
from plugvisor.engines.supervisord.extension.stream import guarded

if TYPE_CHECKING:
    from plugvisor.engines.supervisord.extension.processes.orphans import Orphans

KILL_GRACE_SECONDS = 5.0
"""How long after its SIGKILL a plugin's dependencies wait for it; the kernel may hold one that waits for a disk."""


class Shutdown:
    """Stops every program.

    Only running plugins that others depend on, or that depend on others, are ordered, by what they were launched
    with. All other programs are stopped at once.
    """

    def __init__(self, supervisord: Any, orphans: Orphans) -> None:
        self.logger = supervisord.options.logger
        self._supervisord = supervisord
        self._orphans = orphans
        self._order: TopologicalSorter[str] = TopologicalSorter()
        self._held: set[str] = set()  # their dependents have not ended
        self._awaited: dict[str, float] = {}  # asked to stop, and until when their dependencies wait for them
        self._end_by: float | None = None

    def recover(self) -> None:
        """Forget the order: the end of supervisord must not depend on it."""
        self._held.clear()

    def holds(self, name: str) -> bool:
        """Whether a program is not to be stopped yet."""
        return name in self._held

    @guarded
    def begin(self) -> None:
        """Stop every program that no other one depends on."""
        dependents = self._find_dependents()
        self._held = set(dependents).union(*dependents.values())
        self._order = sort_dependents(dependents)
        later = f", except {len(dependents)} that others depend on" if dependents else ""
        self.logger.info(f"plugins: stopping every program at once{later}")  # noqa: G004 - supervisor's own logger
        for name in list(self._supervisord.process_groups):
            if name not in self._held:
                self._stop(name)
        self.step()

    @guarded
    def step(self) -> float | None:
        """Stop the plugins whose dependents have ended.

        Returns:
            in how many seconds to call this again, even if nothing has ended; None if that is not needed.
        """
        if not self._held:
            return None
        now = time.monotonic()
        for name, until in list(self._awaited.items()):
            if now >= until or self._has_ended(name):
                del self._awaited[name]
                self._order.done(name)
        while ready := self._order.get_ready():
            for name in ready:
                self._held.discard(name)
                self._stop(name)
                process = self._find(name)
                if process is None or self._has_ended(name):
                    self._order.done(name)
                else:
                    self._awaited[name] = now + process.config.stopwaitsecs + KILL_GRACE_SECONDS
        return max(0.0, min(self._awaited.values(), default=now) - now)

    def is_complete(self) -> bool:
        """Whether no orphan is left, now that every program has ended; else it is ended, and given up in the end."""
        if self._end_by is None:
            self._end_by = time.monotonic() + END_SECONDS
            self._orphans.end_all()
            self._orphans.step()
        return not self._orphans.names or time.monotonic() >= self._end_by

    def _find_dependents(self) -> dict[str, set[str]]:
        running = {name: process for name in self._supervisord.process_groups if (process := self._find_running(name))}
        dependents: dict[str, set[str]] = {}
        for name, process in running.items():
            for dependency in process.launch.depends_on if process.launch else ():
                if dependency in running:
                    dependents.setdefault(dependency, set()).add(name)
        return dependents

    def _find_running(self, name: str) -> PluginProcess | None:
        process = self._find(name)
        return process if isinstance(process, PluginProcess) and not self._has_ended(name) else None

    def _has_ended(self, name: str) -> bool:
        process = self._find(name)
        return process is None or (process.state in STOPPED_STATES and not self._orphans.has(name))

    def _find(self, name: str) -> Any | None:
        group = self._supervisord.process_groups.get(name)
        return group.processes.get(name) if group is not None else None

    @guarded
    def _stop(self, name: str) -> None:
        self._supervisord.process_groups[name].stop_all()


def sort_dependents(dependents: dict[str, set[str]]) -> TopologicalSorter[str]:
    """Make the order in which each name comes after its dependents; of a cycle, one dependency is ignored."""
    is_on_path: dict[str, bool] = {}  # of those that were visited, depth first
    without_cycles: dict[str, set[str]] = {}
    for root in dependents:
        stack = [root]
        while stack:
            name = stack[-1]
            if name in is_on_path:
                is_on_path[stack.pop()] = False
                continue
            is_on_path[name] = True
            without_cycles[name] = {one for one in dependents.get(name, ()) if not is_on_path.get(one)}
            stack += [one for one in without_cycles[name] if one not in is_on_path]
    order = TopologicalSorter(without_cycles)
    order.prepare()
    return order
