"""The nodes of the swarm, as the API shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from msgspec import UNSET

from plugvisor.engines.swarm.watch.replicas import is_alive
from plugvisor.models.cluster.node import Node

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from plugvisor.engines.swarm.watch.answers import SwarmNode, SwarmTask
    from plugvisor.models.cluster.node import Availability, NodeState

_STATES = ("ready", "down", "disconnected", "unknown")
_AVAILABILITIES = ("active", "pause", "drain")
_STATE_WORDS = {
    "down": "it is lost: the managers hear nothing of it, so that its plugins may still run there",
    "disconnected": "it has left the swarm, or its connection is lost: its plugins may still run there",
    "unknown": "its state is not known yet: the managers have not heard from it since their leader has changed",
}
_AVAILABILITY_WORDS = {
    "drain": "it is drained: its plugins are moved to other nodes",
    "pause": "it is paused: it is given no more plugins",
}


def make_nodes(nodes: Iterable[SwarmNode], tasks: Mapping[str, Iterable[SwarmTask]]) -> tuple[Node, ...]:
    """Make the nodes' bodies, by their names.

    Args:
        tasks: of each plugin, by its id.
    """
    counts: dict[str, int] = {}
    plugins: dict[str, set[str]] = {}
    for plugin_id, its_tasks in tasks.items():
        for task in its_tasks:
            if is_alive(task):
                counts[task.node_id] = counts.get(task.node_id, 0) + 1
                plugins.setdefault(task.node_id, set()).add(plugin_id)
    made = [_make_node(node, counts.get(node.id, 0), plugins.get(node.id, set())) for node in nodes]
    return tuple(sorted(made, key=lambda node: (node.name, node.id)))


def has_quorum(nodes: Iterable[SwarmNode]) -> bool:
    """Whether more than half of the managers are up.

    A leader that has just lost them still answers for some seconds, as if nothing could have changed since.
    """
    managers = [node.manager for node in nodes if node.manager is not None]
    reachable = sum(manager.reachability == "reachable" for manager in managers)
    return not managers or 2 * reachable > len(managers)


def _make_node(node: SwarmNode, tasks: int, plugin_ids: set[str]) -> Node:
    state = node.status.state if node.status.state in _STATES else "unknown"
    availability = node.spec.availability if node.spec.availability in _AVAILABILITIES else "active"
    words = [
        _STATE_WORDS.get(state, ""),
        "as a manager it is not reachable"
        if state == "ready" and node.manager is not None and node.manager.reachability == "unreachable"
        else "",
        _AVAILABILITY_WORDS.get(availability, ""),
    ]
    return Node(
        id=node.id,
        name=node.name,
        state=cast("NodeState", state),
        availability=cast("Availability", availability),
        role="manager" if node.spec.role == "manager" else "worker",
        leader=node.manager is not None and node.manager.leader,
        address=node.status.addr or UNSET,
        detail="; ".join(filter(None, words)) or UNSET,
        engine_version=node.description.engine.engine_version or UNSET,
        cpus=node.description.resources.nano_cpus / 1e9,
        memory=node.description.resources.memory_bytes,
        tasks=tasks,
        plugins=tuple(sorted(plugin_ids)),
    )
