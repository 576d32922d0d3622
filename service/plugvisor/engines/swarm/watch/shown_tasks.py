"""The tasks that a status shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugvisor.engines.swarm.watch.addresses import find_address
from plugvisor.engines.swarm.watch.replicas import is_alive, is_wanted
from plugvisor.engines.swarm.watch.words import explain_error
from plugvisor.models.cluster.task import Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugvisor.engines.swarm.watch.answers import SwarmTask
    from plugvisor.engines.swarm.watch.replicas import Circumstances


def show_tasks(tasks: Sequence[SwarmTask], around: Circumstances) -> tuple[Task, ...]:
    """The tasks that are alive or wanted, and the last of each slot that has ended, by slot.

    Args:
        tasks: the oldest first.
    """
    ended = {group_key(task): task for task in tasks if not is_alive(task) and not is_wanted(task)}
    shown = [task for task in tasks if is_alive(task) or is_wanted(task) or ended[group_key(task)] is task]
    return tuple(
        _show(task, around) for task in sorted(shown, key=lambda task: (task.slot, task.node_id * (not task.slot)))
    )


def group_key(task: SwarmTask) -> int | str:
    """The key that a task shares with its successors: the slot, or the node if there are no slots."""
    return task.slot or task.node_id


def _show(task: SwarmTask, around: Circumstances) -> Task:
    container = task.status.container_status
    has_ended = not is_alive(task) and container is not None and bool(container.id)
    return Task(
        id=task.id,
        node_id=task.node_id,
        node=around.name_node(task),
        state=task.status.state,
        desired=task.desired,
        at=task.status.at,
        slot=task.slot,
        pid=task.pid if is_alive(task) else 0,
        exit_code=container.exit_code if container is not None and has_ended else None,
        error=explain_error(task.status.err),
        address=find_address(task, around.nodes.get(task.node_id)),
        is_lost=around.is_lost(task),
    )
