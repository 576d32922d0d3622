"""Judges by a plugin's process whether a change of its service has taken effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugvisor.models.process import STARTED, Process, ProcessState

if TYPE_CHECKING:
    from plugvisor.models.cluster.task import Task

_AT_REST = (ProcessState.STOPPED, ProcessState.EXITED, ProcessState.FATAL)
_ENDED = frozenset(("complete", "shutdown", "failed", "rejected", "remove", "orphaned"))
"""States in which a task has no process; an orphaned one's node was removed from the swarm, or is down for a day."""
_COMING = frozenset(("new", "pending", "assigned", "accepted", "preparing", "ready"))
_HELD = frozenset(("starting", "running"))


def is_gone(process: Process) -> bool:
    """Whether no task can have a process any more, as far as the swarm knows.

    An orphaned task may have one, of which nobody will ever hear: whoever removes a node has to see to that.
    """
    is_orphaned = process.state is ProcessState.UNKNOWN and any(task.state == "orphaned" for task in process.tasks)
    return (process.state in _AT_REST or is_orphaned) and not any(_is_alive(task) for task in process.tasks)


def is_lost(process: Process) -> bool:
    """Whether all that may be alive is on nodes that do not answer, so that nothing can be waited for."""
    alive = [task for task in process.tasks if task.is_lost or _is_alive(task)]
    return bool(alive) and all(task.is_lost for task in alive)


def is_at_rest(process: Process) -> bool:
    """Whether a process neither runs nor is going to: there is nothing to stop."""
    return is_gone(process) and not process.is_coming and not any(task.state in _COMING for task in process.tasks)


def is_begun(process: Process, launches: int) -> bool:
    """Whether the swarm has made a task since a launch."""
    return process.launches != launches or (launches == 0 and process.state not in (*STARTED, ProcessState.STOPPED))


def is_spawned(process: Process, *, has_check: bool) -> bool:
    """Whether a process was spawned, or cannot be.

    Args:
        has_check: each node checks it: it is `starting` until it passes for the first time.
    """
    if process.start_pending or process.queued:
        return False
    if process.state is not ProcessState.STARTING or process.pid:
        return True
    return has_check and any(task.state in _HELD for task in process.tasks)


def describe_remains(process: Process) -> str:
    """Why something of a plugin that was stopped may still be alive."""
    nodes = sorted({task.node for task in process.tasks if task.is_lost and task.node})
    if nodes:
        return (
            f"node {' and '.join(nodes)} is lost, and the plugin may still run there until the node is back; if the "
            "node never comes back, remove it from the swarm with `docker node demote` and `docker node rm --force`"
        )
    return "its process is still alive long after the swarm was to kill it; its node may be overloaded"


def _is_alive(task: Task) -> bool:
    return task.state not in _ENDED and task.state not in _COMING
