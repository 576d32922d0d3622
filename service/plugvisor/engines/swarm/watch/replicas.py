"""The state of one replica of a plugin, from the tasks of its slot."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from plugvisor.engines.swarm.watch.words import SIGKILL_CODE, UNHEALTHY, count_nodes, describe_code, explain_error
from plugvisor.models.process import LOG_MAY_SAY, ProcessState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plugvisor.engines.swarm.watch.answers import SwarmNode, SwarmTask

_WAITING = frozenset({"new", "pending"})
"""No node is chosen."""
_ALIVE = frozenset({"assigned", "accepted", "preparing", "ready", "starting", "running"})
"""A node may have a container for it."""
_GONE = frozenset({"shutdown", "remove"})
"""The desired states of a task that is, or will be, replaced."""
GIVEN_UP = "the swarm has given up"


@dataclass(frozen=True)
class Policy:
    """When the swarm starts a task again."""

    condition: str = "any"
    delay_seconds: float = 5.0

    def restarts(self, state: str) -> bool:
        """Whether a task that has ended in this state has a successor, unless it has had too many."""
        return self.condition == "any" or (self.condition == "on-failure" and state != "complete")


@dataclass(frozen=True)
class Replica:
    """One replica at one instant."""

    state: ProcessState
    task: SwarmTask | None = None
    """Its present task; None if the swarm has not made one yet."""
    explanation: str = ""
    spawn_error: str = ""
    retry_at: float | None = None
    start_pending: bool = False
    until: float | None = field(default=None, compare=False)
    """When it is RUNNING, on the monotonic clock."""


@dataclass(frozen=True)
class Circumstances:
    """Facts that a task does not have itself."""

    nodes: Mapping[str, SwarmNode]
    running_since: Mapping[str, float]
    """By task id, on the monotonic clock."""
    now: float
    """On the monotonic clock."""
    policy: Policy
    startsecs: float
    out_of_memory: frozenset[str]
    """The tasks in which the kernel has killed a process for the memory limit."""
    has_memory_limit: bool
    force_update: int | None
    """Of the tasks that are up to date; None while an update is paused: all of them are."""

    def is_lost(self, task: SwarmTask) -> bool:
        """Whether a task may still run on a node that does not answer."""
        node = self.nodes.get(task.node_id)
        return is_alive(task) and (task.status.state == "orphaned" or (node.is_lost if node else bool(self.nodes)))

    def is_of_earlier_run(self, task: SwarmTask) -> bool:
        """Whether a task was made before the service was started or reloaded last."""
        return self.force_update is not None and task.spec.force_update != self.force_update

    def is_passing(self, error: str) -> bool:
        """Whether a task waits for a node because of what is over in a moment: the swarm then looks again.

        A new leader takes each node for unsuitable that it has not heard from, and looks a second after it has.
        """
        if any(node.is_unheard for node in self.nodes.values()):
            return True
        judged, unavailable = count_nodes(error)
        return judged == len(self.nodes) and unavailable > sum(not one.is_available for one in self.nodes.values())

    def name_node(self, task: SwarmTask) -> str:
        """The name of a task's node; its id if the swarm has forgotten the node."""
        node = self.nodes.get(task.node_id)
        return node.name if node else task.node_id

    def explain_loss(self, task: SwarmTask) -> str:
        """A sentence about a lost task."""
        if task.node_id not in self.nodes:
            return "its node is no longer in the swarm: it may still run there"
        return f"node {self.name_node(task)} is lost: it may still run there"


def is_alive(task: SwarmTask) -> bool:
    """Whether a node may have a container for a task."""
    return task.status.state in _ALIVE or task.status.state == "orphaned"


def is_wanted(task: SwarmTask) -> bool:
    """Whether the swarm wants a task to run, now or after a delay."""
    return task.desired not in _GONE


def judge_replica(tasks: Sequence[SwarmTask], around: Circumstances) -> Replica:
    """The state of a replica that is wanted.

    Args:
        tasks: of its slot, the oldest first.
    """
    current = next((task for task in reversed(tasks) if is_wanted(task)), None)
    if current is not None:
        return _judge_current(current, [task for task in tasks if task is not current], around)
    if not tasks:
        return Replica(ProcessState.STARTING)
    last = tasks[-1]
    alive = [task for task in tasks if is_alive(task)]
    obedient = [task for task in alive if not around.is_lost(task)]
    if obedient:  # its successor is made when it has ended
        return Replica(ProcessState.STOPPING, obedient[-1], start_pending=True)
    if alive:
        return Replica(ProcessState.UNKNOWN, alive[-1], around.explain_loss(alive[-1]))
    if last.status.state in _WAITING or around.is_of_earlier_run(last):
        return Replica(ProcessState.STARTING, last)  # its successor is just being made
    return _judge_end(last, around)


def _judge_current(task: SwarmTask, others: Sequence[SwarmTask], around: Circumstances) -> Replica:
    state = task.status.state
    if around.is_lost(task):
        return Replica(ProcessState.UNKNOWN, task, around.explain_loss(task))
    if around.is_of_earlier_run(task) and is_alive(task):
        return Replica(ProcessState.STOPPING, task, start_pending=True)  # the update has not come to it yet
    if state == "running":
        return _judge_running(task, around)
    if state in _WAITING and task.status.err and not around.is_passing(task.status.err):
        lost = [around.explain_loss(other) for other in others if around.is_lost(other)]
        explanation = "; ".join([explain_error(task.status.err), *lost])
        return Replica(ProcessState.FATAL, task, explanation, explanation)
    if state not in _WAITING and not is_alive(task):
        is_over = around.is_of_earlier_run(task)  # its successor is just being made
        return Replica(ProcessState.STARTING, task) if is_over else _judge_end(task, around)
    if task.desired != "running" and others:
        stopping = [other for other in others if is_alive(other) and not around.is_lost(other)]
        if stopping:
            return Replica(ProcessState.STOPPING, stopping[-1], start_pending=True)
        previous = others[-1]
        # a start or a reload makes a task like this, too, of which nothing has failed yet
        is_restart = previous.spec.force_update == task.spec.force_update
        if is_restart and not is_alive(previous) and previous.status.state not in (*_WAITING, "shutdown"):
            return _judge_pause(task, previous, around)
    return Replica(ProcessState.STARTING, task)


def _judge_running(task: SwarmTask, around: Circumstances) -> Replica:
    until = around.running_since.get(task.id, around.now) + around.startsecs
    if until > around.now:
        return Replica(ProcessState.STARTING, task, until=until)
    return Replica(ProcessState.RUNNING, task)


def _judge_pause(task: SwarmTask, previous: SwarmTask, around: Circumstances) -> Replica:
    """The state while the swarm waits to start a task that follows one that has ended."""
    # a node that was lost may report an end of long ago
    ended = max(previous.status.timestamp, task.created)
    retry_at = ended.timestamp() + around.policy.delay_seconds
    if previous.status.state == "complete":
        return Replica(ProcessState.EXITED, task, retry_at=retry_at)
    error = _describe_end(previous, around)
    when = f"{ended.fromtimestamp(retry_at).astimezone():%H:%M:%S}"
    return Replica(ProcessState.BACKOFF, task, f"{error}; it is started again at {when}", error, retry_at)


def _judge_end(task: SwarmTask, around: Circumstances) -> Replica:
    """The state after a task that has ended and has no successor."""
    state = task.status.state
    if state == "complete":
        return Replica(ProcessState.EXITED, task)
    error = _describe_end(task, around)
    if is_wanted(task) and around.policy.restarts(state):  # its successor is just being made
        return Replica(ProcessState.BACKOFF, task, f"{error}; it is started again soon", error)
    if state == "shutdown":
        return Replica(ProcessState.STARTING, task)
    has_run = state == "failed" and bool(task.status.err.startswith("task: "))
    if has_run and not around.policy.restarts(state):
        return Replica(ProcessState.EXITED, task, spawn_error=error, explanation=f"{error}; {LOG_MAY_SAY}")
    if has_run:
        return Replica(ProcessState.FATAL, task, f"it keeps dying and {GIVEN_UP}; last, {error}; {LOG_MAY_SAY}", error)
    return Replica(ProcessState.FATAL, task, f"it could not be started and {GIVEN_UP}: {error}", error)


def _describe_end(task: SwarmTask, around: Circumstances) -> str:
    """How a task has ended, for a person."""
    status = task.status
    code = status.container_status.exit_code if status.container_status else 0
    words = explain_error(status.err) or (describe_code(code) if code else "it ended")
    if code != SIGKILL_CODE or not around.has_memory_limit or UNHEALTHY in status.err:
        return words
    if task.id in around.out_of_memory:
        return f"{words}: it used more memory than its limit"
    return f"{words}: it may have used more memory than its limit"  # of nodes whose Engines are not followed
