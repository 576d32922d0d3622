"""How often the swarm has started a plugin again by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugvisor.engines.swarm.watch.replicas import is_wanted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugvisor.engines.swarm.watch.answers import SwarmTask

FLAPPING_RESTARTS = 3
FLAPPING_SECONDS = 60.0
"""This many restarts by the swarm within this time are flapping; as long without one ends it.

Only the time in which the plugin runs counts: the delays before the restarts may be longer than that.
"""
_BY_ITSELF = frozenset({"complete", "failed", "rejected"})


def find_replaced(tasks: Sequence[SwarmTask], force_update: int) -> list[SwarmTask]:
    """The tasks of the present run that have ended by themselves and were replaced.

    Args:
        tasks: of a service, the oldest first.
        force_update: of the present run.
    """
    last = {task.slot or task.node_id: task for task in tasks}
    return [
        task
        for task in tasks
        if task.status.state in _BY_ITSELF
        and task.spec.force_update == force_update
        and not is_wanted(task)
        and last[task.slot or task.node_id] is not task
    ]


def is_flapping(replaced: Sequence[SwarmTask], delay_seconds: float, runs_seconds: float) -> bool:
    """Whether the swarm restarts a plugin again and again.

    Args:
        replaced: the tasks of one replica, the oldest first.
        runs_seconds: how long the present one has run.
    """
    between = replaced[-FLAPPING_RESTARTS + 1 :]
    ran = sum(max(0.0, (task.status.timestamp - task.created).total_seconds() - delay_seconds) for task in between)
    return len(replaced) >= FLAPPING_RESTARTS and ran < FLAPPING_SECONDS and runs_seconds < FLAPPING_SECONDS
