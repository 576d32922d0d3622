"""Looks at the containers of every node all the while, in the kernel's control groups; it asks no Engine.

A container is known by the folder of its control group, and whose it is by the file that its Engine keeps about it.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from pathlib import Path  # noqa: TC003 - a NamedTuple's field
from typing import TYPE_CHECKING, NamedTuple

from tests.chaos.swarm.cast import PLUGINS
from tests.chaos.watcher import Watcher
from tests.helpers.swarm.node import CONTROL_GROUPS

if TYPE_CHECKING:
    from tests.chaos.swarm.activity import Activity
    from tests.helpers.swarm.lab import SwarmLab
    from tests.helpers.swarm.node import LabNode

NEWS_SECONDS = 2.0
"""How long the news may take that the swarm has lost a node."""
PREFIX = "plugvisor-"


class Container(NamedTuple):
    """A container of a plugin that has living processes."""

    id: str
    node: str
    plugin_id: str
    group: Path

    @property
    def pids(self) -> list[int]:
        """Its processes, as this machine numbers them."""
        with contextlib.suppress(OSError):
            return [int(line) for line in (self.group / "cgroup.procs").read_text().split()]
        return []


class ContainerReader:
    """Finds the containers of the plugins on a lab's nodes."""

    def __init__(self, lab: SwarmLab) -> None:
        root = CONTROL_GROUPS / "pids" if (CONTROL_GROUPS / "pids").is_dir() else CONTROL_GROUPS
        self._folders = {node: root / lab.folder.name / node.home.name for node in lab.nodes}
        self._owners: dict[str, str] = {}

    def read(self) -> list[Container]:
        """Every container of a plugin that has living processes."""
        found = []
        for node, folder in self._folders.items():
            with contextlib.suppress(OSError):
                for group in folder.iterdir():
                    if len(group.name) != 64:
                        continue
                    container = Container(group.name, node.name, self._find_owner(node, group.name), group)
                    if container.plugin_id and container.pids:
                        found.append(container)
        return found

    def _find_owner(self, node: LabNode, container_id: str) -> str:
        """The plugin's id; empty if it is not known yet, or it is no plugin's."""
        if container_id not in self._owners:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                path = node.home / "data" / "containers" / container_id / "config.v2.json"
                labels = json.loads(path.read_text())["Config"]["Labels"] or {}
                name = labels.get("com.docker.swarm.service.name", "")
                self._owners[container_id] = name.removeprefix(PREFIX) if name.startswith(PREFIX) else ""
        return self._owners.get(container_id, "")


class ContainerWatcher(Watcher):
    """Looks for promises 1 and 2."""

    look_seconds = 0.02

    def __init__(self, lab: SwarmLab, activity: Activity) -> None:
        super().__init__(activity)
        self.most_together = 0
        """How many containers were alive at once."""
        self._reader = ContainerReader(lab)
        self._first_seen: dict[str, float] = {}
        self._lock = threading.Lock()

    def read(self, plugin_id: str | None = None) -> list[Container]:
        """The containers that are alive now, of one plugin or of all."""
        with self._lock:
            containers = self._reader.read()
            for container in containers:
                self._first_seen.setdefault(container.id, time.monotonic())
        return [container for container in containers if plugin_id in (None, container.plugin_id)]

    def get_first_seen(self, container: Container) -> float:
        """When a container was seen first, on the monotonic clock."""
        return self._first_seen[container.id]

    def _look(self) -> None:
        gone = self._activity.list_gone()
        containers = self.read()
        self.looks += 1
        self.most_together = max(self.most_together, len(containers))
        for container in containers:
            # alive after the check that it must not be
            if self._activity.is_still_gone(container.plugin_id, gone) and container.pids:
                self.report(f"2: {describe(container)} is alive after a stop was answered")
                self._end.set()
        if self._find_together(containers) and (found := self._confirm(containers)):
            self.report(f"1: these are alive together: {found}")
            self._end.set()

    def _confirm(self, containers: list[Container]) -> str:
        """Which are too many, when the news has come that a node is lost, if there is any."""
        alive = [container for container in containers if container.pids]
        self._end.wait(NEWS_SECONDS)
        return ", ".join(map(describe, self._find_together(alive)))

    def _find_together(self, containers: list[Container]) -> list[Container]:
        """Those of a plugin of which more are on a side than it has replicas."""
        together: dict[tuple[str, str], list[Container]] = {}
        for container in containers:
            side = self._activity.find_side(container.node)
            together.setdefault((container.plugin_id, side), []).append(container)
        for (plugin_id, _), several in together.items():
            most = PLUGINS[plugin_id].replicas if plugin_id in PLUGINS else 1
            if len(several) > most and not self._activity.may_overlap(plugin_id):
                return several
        return []


def describe(container: Container) -> str:
    """A container in a report."""
    return f"{container.plugin_id} {container.id[:12]} on {container.node}"
